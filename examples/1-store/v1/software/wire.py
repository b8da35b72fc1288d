"""HTTP/1.1 as far as the store needs it: JSON bodies, connections that are kept open, one call at a time on each."""

import asyncio
import json
from urllib.parse import parse_qsl, unquote

HEAD_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 1024 * 1024

REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 410: "Gone", 422: "Unprocessable Content",
           500: "Internal Server Error", 503: "Service Unavailable", 504: "Gateway Timeout"}


def take_message(buffer):
    """Takes one whole message off the front of `buffer`: (first line, headers, body); None while it is not all there."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > HEAD_BYTES_MAX:
            raise ValueError("the head of a message is too long")
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError("a header without a colon")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        found = chunked_body(buffer, end + 4)
    else:
        length = int(headers.get("content-length", "0"))
        found = (bytes(buffer[end + 4:end + 4 + length]), end + 4 + length)
        if not 0 <= length <= BODY_BYTES_MAX:
            raise ValueError("a body of a length that is not allowed")
        if len(buffer) < found[1]:
            return None
    if found is None:
        return None
    body, taken = found
    del buffer[:taken]
    return first, headers, body


def chunked_body(buffer, at):
    """The chunks from `at` on: (body, where the message ends), or None while they are not all there."""
    body = bytearray()
    while True:
        end = buffer.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(bytes(buffer[at:end]).split(b";")[0], 16)
        if len(body) + size > BODY_BYTES_MAX:
            raise ValueError("a body of a length that is not allowed")
        at = end + 2 + size + 2
        if len(buffer) < at:
            return None
        if size == 0:
            return bytes(body), at
        body += buffer[end + 2:end + 2 + size]


def parse_json(body):
    """The body as JSON; None when there is none or it is none."""
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


class ServerConnection(asyncio.Protocol):
    """One caller's connection. `answer(method, path, query, body)` gives (status, object), at once or as a coroutine."""

    open = set()

    def __init__(self, answer):
        self.answer = answer
        self.buffer = bytearray()
        self.task = None
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        ServerConnection.open.add(self)

    def connection_lost(self, _error):
        ServerConnection.open.discard(self)

    def data_received(self, data):
        self.buffer += data
        if self.task is None:
            self.answer_next()

    def answer_next(self):
        while self.task is None:
            try:
                message = take_message(self.buffer)
            except ValueError:
                self.transport.close()
                return
            if message is None:
                return
            first, headers, body = message
            method, _, rest = first.partition(" ")
            path, _, query = rest.rpartition(" ")[0].partition("?")
            close = headers.get("connection", "").lower() == "close"
            result = self.answer(method, unquote(path), dict(parse_qsl(query)), parse_json(body))
            if asyncio.iscoroutine(result):
                self.task = asyncio.ensure_future(self.answer_later(result, close))
            else:
                self.send(*result, close)

    async def answer_later(self, result, close):
        try:
            status, content = await result
        except Exception as error:  # an answer is owed whatever went wrong
            print(f"a call failed: {error!r}", flush=True)
            status, content = 500, {}
        self.send(status, content, close)
        self.task = None
        self.answer_next()

    def send(self, status, content, close):
        body = json.dumps(content, separators=(",", ":")).encode()
        head = (f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n")
        if not self.transport.is_closing():
            self.transport.write(head.encode() + body)
            if close:
                self.transport.close()


async def serve(host, port, answer):
    """Listens and answers; gives the listening server back."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: ServerConnection(answer), host, port, backlog=512, reuse_address=True)


async def finish(servers, seconds=2.0):
    """Listens no more, lets the calls that are being answered end, then closes every connection."""
    for server in servers:
        server.close()
    tasks = [connection.task for connection in ServerConnection.open if connection.task]
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
    for connection in list(ServerConnection.open):
        connection.transport.close()
    await asyncio.sleep(0)


class ClientConnection(asyncio.Protocol):
    """A connection to a server, one call at a time."""

    def __init__(self):
        self.buffer = bytearray()
        self.waiting = None
        self.closed = False
        self.transport = None

    @classmethod
    async def open(cls, host, port, seconds=30.0):
        loop = asyncio.get_running_loop()
        _, connection = await asyncio.wait_for(loop.create_connection(cls, host, port), seconds)
        return connection

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        try:
            message = take_message(self.buffer)
        except ValueError as error:
            message = None
            self.fail(ConnectionError(str(error)))
            self.transport.abort()
        if message is not None and self.waiting and not self.waiting.done():
            self.waiting.set_result(message)

    def connection_lost(self, error):
        self.closed = True
        self.fail(error or ConnectionResetError("the connection was closed before the answer"))

    def fail(self, error):
        if self.waiting and not self.waiting.done():
            self.waiting.set_exception(error)

    async def call(self, method, target, content=None, seconds=60.0):
        """Sends one call: (status, the answer's JSON). An OSError means that the connection broke; it is of no use any more."""
        body = b"" if content is None else json.dumps(content, separators=(",", ":")).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: store\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        if self.closed or self.transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(head.encode() + body)
        try:
            first, headers, answer = await asyncio.wait_for(self.waiting, seconds)
        except BaseException:
            self.close()
            raise
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(first.split(" ", 2)[1]), parse_json(answer)

    def close(self):
        self.closed = True
        self.transport.abort() if self.waiting and not self.waiting.done() else self.transport.close()
