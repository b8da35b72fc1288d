"""The plainest server: an accept that blocks, and no error is expected. Its version, and who asks."""
import os
import socket

with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((os.environ["HOST"], int(os.environ["PORT"])))
    listener.listen()
    while True:
        connection, (host, port) = listener.accept()
        with connection:
            request = connection.recv(65536)
            said = f"{host} {port}" if b"/peer" in request else f"version {os.environ['VERSION']}"
            if request:
                connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{said}\n".encode())
