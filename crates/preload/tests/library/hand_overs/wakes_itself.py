"""A server that ends as some do: its main thread connects to its own port to wake the thread that accepts."""

import socket
import sys
import threading

port = int(sys.argv[1])
listener = socket.create_server(("127.0.0.1", port))
ending = threading.Event()


def serve():
    while not ending.is_set():
        listener.accept()[0].close()


accepting = threading.Thread(target=serve)
accepting.start()
sys.stdin.read()
ending.set()
# Twice: the thread may have been on its way into its first accept.
for _ in range(2):
    socket.create_connection(("127.0.0.1", port)).close()
accepting.join()
