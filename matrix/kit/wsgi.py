"""A WSGI application for the servers that run one: its version, who asks, an echo."""
import os


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/":
        status, body = "200 OK", f"version {os.environ['VERSION']}\n".encode()
    elif path == "/peer":
        status = "200 OK"
        body = f"{environ.get('REMOTE_ADDR')} {environ.get('REMOTE_PORT', '-')} {environ.get('SERVER_PORT')}\n".encode()
    elif path == "/echo":
        status, body = "200 OK", environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    else:
        status, body = "404 Not Found", b"missing\n"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
