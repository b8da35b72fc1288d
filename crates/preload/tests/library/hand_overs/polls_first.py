"""A server that asks whether somebody has come before its blocking accept, and ends at its stop signal when it is back there."""

import select
import signal
import socket
import sys

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
while not ending:
    if select.select([listener], [], [], 0.1)[0]:
        listener.accept()[0].close()
