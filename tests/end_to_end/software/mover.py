"""A server that changes its listener when it is told: PORT VERSION STATE. It answers every request with its version.

SIGUSR1: it listens with another socket, from which it accepts nobody. SIGUSR2: with a third one, and serves again.
"""
import select
import signal
import socket
import sys
import threading

PORT, VERSION = int(sys.argv[1]), sys.argv[2]
told = []


def listening():
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", PORT))
    made.listen(64)
    return made


def answer(connection):
    with connection:
        while connection.recv(4096):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(VERSION), VERSION.encode()))


for number in (signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, _: told.append(number))
listener, serves = listening(), True
while True:
    ready, _, _ = select.select([listener] if serves else [], [], [], 0.02)
    if ready:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
    while told:
        serves = told.pop(0) == signal.SIGUSR2
        following = listening()
        listener.close()
        listener = following
