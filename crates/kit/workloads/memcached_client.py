"""Stores and reads 300 values over 10 connections, some of them twice."""
import socket
import sys

lines = [socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) for _ in range(10)]
files = [line.makefile("rwb") for line in lines]


def ask(file, *words):
    file.write(b"\r\n".join(words) + b"\r\n")
    file.flush()


stored = right = 0
for key in range(300):
    file = files[key % 10]
    value = f"value {key}".encode()
    ask(file, f"set key{key} 0 0 {len(value)}".encode(), value)
    stored += file.readline() == b"STORED\r\n"
for key in range(300):
    file = files[(key + 5) % 10]
    ask(file, f"get key{key}".encode())
    head, body, end = (file.readline() for _ in range(3))
    right += body == f"value {key}\r\n".encode() and end == b"END\r\n"
ask(files[0], b"stats")
stats = dict(line.split()[1:3] for line in iter(files[0].readline, b"END\r\n"))
print(f"stored {stored} right {right} sets {stats[b'cmd_set'].decode()} gets {stats[b'get_hits'].decode()}")
