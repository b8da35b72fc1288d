"""An ASGI application for the servers that run one: its version, who asks, an echo."""
import os


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    status, body = 200, b""
    if scope["path"] == "/":
        body = f"version {os.environ['VERSION']}\n".encode()
    elif scope["path"] == "/peer":
        body = f"{scope['client'][0]} {scope['client'][1]} {scope['server'][1]}\n".encode()
    elif scope["path"] == "/echo":
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
    else:
        status, body = 404, b"missing\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
