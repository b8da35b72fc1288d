"""What the matrix calls programs with: talks (what is said is printed, to be compared), loads (calls are counted), and an origin behind proxies.

Python's standard library only, since it also runs as a member's software.

    client.py talk HOST PORT STEP...     "> TEXT" sends, "< PATTERN" reads up to a match, "." reads to the end, "-" ends the sending side
    client.py http HOST PORT PATH...     GETs over one connection; everything that comes back
    client.py fastcgi HOST PORT SCRIPT PATH    the same of a PHP file by FastCGI
    client.py load FILE HOST PORT        calls until its input ends, then prints the count as JSON
    client.py origin HOST PORT           an HTTP server that tells who asked, and with which headers
"""
import errno, json, os, re, socket, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Longer than a node holds a call while it upgrades (`hold_ms` of the matrix' bundles).
PATIENCE_S = 150
# A process that is stopped ends its connections within this time; a call that is reset later was held and then dropped.
STOPPED_WITHIN_S = 12
ENDED = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError, EOFError)


def unescape(text):
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")


class Conversation:
    """One connection and what was read from it."""

    def __init__(self, host, port, patience=PATIENCE_S):
        self.socket = socket.create_connection((host, port), timeout=patience)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.ended = False
        self.answered = False

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the connection ended" + (f" after {self.buffer[-200:]!r}" if self.buffer else ""))
        self.buffer += data

    def take(self, size):
        while len(self.buffer) < size:
            self.more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def until(self, pattern):
        """Everything up to and with the match."""
        while True:
            match = pattern.search(self.buffer)
            if match:
                data, self.buffer = self.buffer[: match.end()], self.buffer[match.end():]
                return data, match
            self.more()

    def rest(self):
        try:
            while True:
                self.more()
        except EOFError:
            data, self.buffer = self.buffer, b""
            return data

    def http(self, path, host):
        """One GET: head and body. `ended` says whether the server wants the connection to end."""
        self.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: matrix\r\n\r\n".encode())
        head, _ = self.until(re.compile(rb"\r\n\r\n"))
        fields = dict(re.findall(rb"(?m)^([\w-]+):[ \t]*(.*?)\r$", head.lower()))
        self.ended = fields.get(b"connection") == b"close" or (
            head.startswith(b"HTTP/1.0") and fields.get(b"connection") != b"keep-alive")
        if b"content-length" in fields:
            return head, self.take(int(fields[b"content-length"]))
        if fields.get(b"transfer-encoding") == b"chunked":
            body = b""
            while True:
                size = int(self.until(re.compile(rb"\r\n"))[0].split(b";")[0], 16)
                chunk = self.take(size + 2)[:-2]
                if not size:
                    return head, body
                body += chunk
        if head.split()[1] in (b"204", b"304"):
            return head, b""
        self.ended = True
        return head, self.rest()

    def fastcgi(self, script, path):
        """One request by FastCGI; what the program wrote. The server ends the connection."""
        def field(name, value):
            name, value = name.encode(), value.encode()
            lengths = b"".join(bytes([len(x)]) if len(x) < 128 else (len(x) | 1 << 31).to_bytes(4, "big") for x in (name, value))
            return lengths + name + value

        def record(kind, data):
            return bytes([1, kind, 0, 1]) + len(data).to_bytes(2, "big") + b"\0\0" + data

        address, port = self.socket.getsockname()[:2]
        fields = {"SCRIPT_FILENAME": script, "REQUEST_URI": path, "REQUEST_METHOD": "GET", "REMOTE_ADDR": address,
                  "REMOTE_PORT": str(port), "SERVER_PORT": str(self.socket.getpeername()[1])}
        parameters = b"".join(field(*pair) for pair in fields.items())
        self.send(record(1, b"\0\1" + bytes(6)) + record(4, parameters) + record(4, b"") + record(5, b""))
        output = b""
        while True:
            head = self.take(8)
            data = self.take(int.from_bytes(head[4:6], "big") + head[6])[: int.from_bytes(head[4:6], "big")]
            if head[1] == 3:
                return output
            output += data

    def close(self):
        self.socket.close()


def failure(error):
    name = errno.errorcode.get(getattr(error, "errno", None) or 0, "")
    return f"{type(error).__name__} {name} {error}".replace("  ", " ")


def show(conversation, data):
    """Binary is shown as escapes; the caller's own port, which differs each time, as a word."""
    own = str(conversation.socket.getsockname()[1])
    text = data.decode("latin-1")
    text = re.sub(rf"(?<!\d){own}(?!\d)", "<own port>", text)
    sys.stdout.write(re.sub(r"[^\n -~]", lambda match: repr(match[0])[1:-1], text.replace("\r\n", "\n")))


def talk(host, port, steps):
    try:
        conversation = Conversation(host, int(port), 30)
    except OSError as error:
        print("cannot connect:", failure(error))
        return
    try:
        for step in steps:
            if step.startswith("> "):
                conversation.send(unescape(step[2:]))
            elif step.startswith("< "):
                show(conversation, conversation.until(re.compile(step[2:].encode("latin-1"), re.S))[0])
            elif step == "-":
                conversation.socket.shutdown(socket.SHUT_WR)
            else:
                show(conversation, conversation.rest())
                print("<end>")
    except (OSError, EOFError) as error:
        show(conversation, conversation.buffer)
        print("\nended:", failure(error))
    conversation.close()


def http(host, port, paths):
    conversation = None
    for path in paths:
        try:
            conversation = conversation or Conversation(host, int(port), 30)
            head, body = conversation.http(path, "matrix.example")
            show(conversation, head + body + b"\n")
            if conversation.ended:
                print("<ends>")
                conversation.close()
                conversation = None
        except (OSError, EOFError) as error:
            print("ended:", failure(error))
            conversation = None


def fastcgi(host, port, script, path):
    try:
        conversation = Conversation(host, int(port), 30)
        show(conversation, conversation.fastcgi(script, path) + b"\n")
    except (OSError, EOFError) as error:
        print("ended:", failure(error))


class Farewell(ConnectionResetError):
    """A program that is being stopped says so in words of its own, on a connection that it has."""


class Load:
    """Callers that make a connection for each call, and callers that keep theirs."""

    def __init__(self, host, port, spec):
        self.host, self.port, self.spec = host, port, spec
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.calls, self.failed, self.resets, self.again = 0, 0, 0, 0
        self.slowest, self.errors, self.last, self.turn = 0.0, [], {}, 0
        self.began = time.time()

    def call(self, conversation, steps):
        asks_peer = False
        if "http" in self.spec or "fastcgi" in self.spec:
            if "http" in self.spec:
                self.turn += 1
                asks_peer = "peer" in self.spec and self.turn % 2
                head, body = conversation.http(self.spec["peer" if asks_peer else "http"], "matrix.example")
                farewell = self.spec.get("farewell")
                if farewell and conversation.answered and re.search(farewell.encode(), head):
                    raise Farewell(f"answered {head.splitlines()[0]!r}")
                if not head.split()[1].startswith(b"2"):
                    raise ValueError(f"answered {head.splitlines()[0]!r} {body[:200]!r}")
            else:
                head, body = b"", conversation.fastcgi(self.spec["fastcgi"], "/")
            if asks_peer:
                address, port = conversation.socket.getsockname()[:2]
                if not re.search(rf"{re.escape(address)}[: ]{port}\b".encode(), body):
                    raise ValueError(f"the program sees another caller than {address} {port}: {body[:200]!r}")
                return None
            match = re.search(self.spec.get("expect", "").encode(), head + body)
            if not match:
                raise ValueError(f"no {self.spec['expect']!r} in {(head + body)[:300]!r}")
            return match
        match = None
        for step in steps:
            match = self.step(conversation, step) or match
        return match

    def step(self, conversation, step):
        """The match, where the step waits for one that tells something."""
        if step.startswith("> "):
            conversation.send(unescape(step[2:]))
            return None
        match = conversation.until(re.compile(step[2:].encode("latin-1"), re.S))[1]
        return match if match.groups() else None

    def caller(self, number, kept):
        conversation, resets, asked_peer = None, 0, False
        hosts = [self.host] + self.spec.get("hosts", [])
        # The last call tells the version: a caller that waited through an upgrade may have made no other since.
        while not self.over.is_set() or asked_peer:
            began, asked_peer = time.time(), False
            try:
                if conversation is None:
                    conversation = Conversation(hosts[number % len(hosts)], self.port)
                    opened = self.call_open(conversation)
                match = self.call(conversation, self.spec.get("call", []))
                asked_peer = match is None and "peer" in self.spec
                match = match or opened
                conversation.answered = True
                with self.lock:
                    self.calls += 1
                    self.slowest = max(self.slowest, time.time() - began)
                    if match and match.groups():
                        self.last[number] = match[1].decode("latin-1")
                if kept and not conversation.ended:
                    self.over.wait(self.spec.get("pace_ms", 20) / 1000)
                    continue
            except ENDED as error:
                resets += 1
                is_first = resets == 1 and time.time() - began < STOPPED_WITHIN_S
                self.note(number, kept, began, error, "resets" if is_first else "failed")
            except (OSError, ValueError) as error:
                self.note(number, kept, began, error, "failed")
                self.over.wait(0.1)
            if conversation is not None:
                self.leave(conversation)
                conversation = None
            self.over.wait(self.spec.get("pace_ms", 20) / 1000)

    def call_open(self, conversation):
        """What is said once; it may tell the version too."""
        match = None
        for step in self.spec.get("open", []):
            match = self.step(conversation, step) or match
        return match

    def leave(self, conversation):
        """Waits for the server's end after a farewell, so that what is closed here resets nothing there."""
        try:
            for step in self.spec.get("close", []):
                self.step(conversation, step)
        except (OSError, EOFError):
            pass
        conversation.close()

    def note(self, number, kept, began, error, counter):
        with self.lock:
            setattr(self, counter, getattr(self, counter) + 1)
            if counter == "failed":
                self.calls += 1
            if len(self.errors) < 8:
                kind = "kept" if kept else "fresh"
                after = f"{began - self.began:.1f} s, took {time.time() - began:.1f} s"
                more = " (a reset)" if counter == "resets" else ""
                self.errors.append(f"{kind} caller {number} at {after}: {failure(error)}{more}")

    def run(self):
        kinds = [False] * self.spec.get("fresh", 3) + [True] * self.spec.get("kept", 2)
        threads = [threading.Thread(target=self.caller, args=pair, daemon=True) for pair in enumerate(kinds)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self.over.set()
        end = time.time() + 10
        for thread in threads:
            thread.join(max(0, end - time.time()))
        hanging = sum(thread.is_alive() for thread in threads)
        if hanging:
            self.errors.append(f"{hanging} calls hang")
        counts = {"calls": self.calls + hanging, "failed": self.failed + hanging, "resets": self.resets, "callers": len(kinds)}
        print(json.dumps(counts | {
            "slowest_ms": round(1000 * self.slowest), "errors": self.errors, "versions": sorted(set(self.last.values()))}))
        sys.stdout.flush()


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        lines = [f"peer {self.client_address[0]}", self.requestline]
        lines += sorted(f"{name.lower()}: {value}" for name, value in self.headers.items())
        body = ("\n".join(lines) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Origins(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_):
        """Checks of health do not wait for the answer."""


def main():
    mode, *rest = sys.argv[1:]
    if mode == "talk":
        talk(rest[0], rest[1], rest[2:])
    elif mode == "http":
        http(rest[0], rest[1], rest[2:])
    elif mode == "fastcgi":
        fastcgi(*rest)
    elif mode == "load":
        with open(rest[0]) as file:
            Load(rest[1], int(rest[2]), json.loads(os.path.expandvars(file.read()))).run()
    elif mode == "origin":
        Origins((rest[0], int(rest[1])), Origin).serve_forever()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
