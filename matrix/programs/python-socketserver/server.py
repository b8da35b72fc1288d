"""Python's socketserver with a thread for each connection: its version, and who asks."""
import os
import socketserver


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        path = self.rfile.readline().split()[1]
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        host, port = self.client_address
        said = f"{host} {port}" if path == b"/peer" else f"version {os.environ['VERSION']}"
        self.wfile.write(f"HTTP/1.0 200 OK\r\n\r\n{said}\n".encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


Server((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
