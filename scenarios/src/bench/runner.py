"""Runs load programs when asked, over a Unix socket: the software of the class `load` in the benchmark.

Each connection carries one JSON array, the command line, and gets one JSON object back.
"""

import json
import os
import socket
import subprocess
import sys


def answer(connection):
    command = json.loads(connection.makefile("r").readline())
    done = subprocess.run(command, capture_output=True, text=True)
    reply = {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
    connection.sendall((json.dumps(reply) + "\n").encode())


def main(path):
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        with connection:
            answer(connection)


if __name__ == "__main__":
    main(sys.argv[1])
