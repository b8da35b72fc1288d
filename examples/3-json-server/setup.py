"""Installs both versions of json-server as npm has them, pinned by packages/*/package-lock.json: `python3 setup.py FOLDER`.

FOLDER/v1 and FOLDER/v2 get `node_modules`, and `software.tar.gz` for the bundles. Does nothing where that is there."""

import os
import shutil
import subprocess
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))


def install(version, folder):
    source = os.path.join(HERE, "packages", version)
    archive = os.path.join(folder, "software.tar.gz")
    with open(os.path.join(source, "package-lock.json"), encoding="utf-8") as file:
        lock = file.read()
    stamp = os.path.join(folder, "installed")
    if os.path.exists(archive) and os.path.exists(stamp) and open(stamp, encoding="utf-8").read() == lock:
        return
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(source, name), folder)
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--no-bin-links"], cwd=folder, check=True)
    with tarfile.open(archive + ".part", "w:gz", compresslevel=1) as tar:
        tar.add(os.path.join(folder, "node_modules"), "node_modules")
    os.rename(archive + ".part", archive)
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(lock)


if __name__ == "__main__":
    for each in ("v1", "v2"):
        install(each, os.path.join(os.path.abspath(sys.argv[1]), each))
