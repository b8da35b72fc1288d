"""A box of numbers, by name. It speaks one dialect and reads one form of state; nothing here knows of Upstart."""

import argparse
import http.client
import json
import os
import re
import select
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

arguments = argparse.ArgumentParser()
arguments.add_argument("--dialect", type=int, required=True)
arguments.add_argument("--port", type=int, required=True)
arguments.add_argument("--state", required=True)
arguments.add_argument("--peer", type=int, help="asked within every put")
arguments.add_argument("--start-delay-ms", type=int, default=0)
arguments.add_argument("--unhealthy", action="store_true")
options = arguments.parse_args()
FILES = {1: "boxes.json", 2: "items.tsv", 3: "things.json"}
KEYS = {1: ("name", "count"), 2: ("id", "amount"), 3: ("id", "total")}
READY = {1: ("/ready", {"ready": True}), 2: ("/health", {"status": "UP"}), 3: ("/alive", {"alive": True})}
MISSING = {1: (404, {"error": "no such box"}), 2: (410, {"code": "GONE"}), 3: (404, {"problem": "missing"})}
UNKNOWN = {1: {"error": "no such call"}, 2: {"code": "NO_SUCH_CALL"}, 3: {"problem": "no such call"}}
STORED = {1: 200, 2: 201, 3: 200}
DIALECT = options.dialect
path = os.path.join(options.state, FILES[DIALECT])
lock = Lock()


def load():
    for dialect, name in FILES.items():
        if dialect != DIALECT and os.path.exists(os.path.join(options.state, name)):
            sys.exit(f"{name} is no state of mine")
    if not os.path.exists(path):
        return {}
    with open(path) as file:
        if DIALECT == 1:
            return json.load(file)
        if DIALECT == 2:
            rows = [line.rstrip("\n").split("\t") for line in file]
            return {name: int(number) for number, name in rows}
        return {thing["id"]: thing["total"] for thing in json.load(file)}


def save(boxes):
    with open(path + ".new", "w") as file:
        if DIALECT == 1:
            json.dump(boxes, file)
        elif DIALECT == 2:
            file.writelines(f"{number}\t{name}\n" for name, number in boxes.items())
        else:
            json.dump([{"id": name, "total": number} for name, number in boxes.items()], file)
    os.rename(path + ".new", path)


def put_call(name, number):
    if DIALECT == 1:
        return "PUT", f"/boxes/{name}", {"count": number}
    if DIALECT == 2:
        return "POST", "/items", {"id": name, "amount": number}
    return "PUT", f"/things/{name}", {"total": number}


def get_call(name):
    path = {1: f"/boxes/{name}", 2: f"/items?id={name}", 3: f"/things/{name}"}[DIALECT]
    return "GET", path, None


def understand(method, path, body):
    """("put", name, number), ("get", name) or None."""
    forms = {1: "/boxes/([a-z0-9-]+)", 2: "/items(?:[?]id=([a-z0-9-]+))?", 3: "/things/([a-z0-9-]+)"}
    found = re.fullmatch(forms[DIALECT], path)
    if not found:
        return None
    number = (body or {}).get(KEYS[DIALECT][1])
    if DIALECT == 2 and method == "POST" and found[1] is None and isinstance(number, int):
        return "put", body["id"], number
    if DIALECT != 2 and method == "PUT" and isinstance(number, int):
        return "put", found[1], number
    if method == "GET" and found[1]:
        return "get", found[1]
    return None


def ask(port, call):
    """Calls another box in this one's own dialect; one connection for each call."""
    method, path, body = call
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request(method, path, body and json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


boxes = load()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.remarks = {"X-Pid": os.getpid(), "X-Caller": "%s:%s" % self.client_address[:2]}
        if self.path == READY[DIALECT][0] and self.command == "GET":
            return self.answer(503 if options.unhealthy else 200, READY[DIALECT][1])
        relayed = re.fullmatch("/relay/([0-9]+)/([a-z0-9-]+)", self.path)
        if relayed:
            return self.relay(int(relayed[1]), relayed[2], body["count"])
        call = understand(self.command, self.path, body)
        if call is None:
            return self.answer(404, UNKNOWN[DIALECT])
        status = 200
        name = call[1]
        if call[0] == "put":
            if options.peer:
                self.remarks["X-Peer"] = self.ask_peer(name)
            status = STORED[DIALECT]
            with lock:
                boxes[name] = call[2]
                save(boxes)
        if name not in boxes:
            return self.answer(*MISSING[DIALECT])
        self.answer(status, dict(zip(KEYS[DIALECT], (name, boxes[name]))))

    do_GET = do_PUT = do_POST = serve

    def relay(self, port, name, number):
        """Stores at another box and reads it back."""
        try:
            stored, _ = ask(port, put_call(name, number))
            status, body = ask(port, get_call(name))
            self.answer(200, {"stored": stored, "status": status, "count": body.get(KEYS[DIALECT][1])})
        except (OSError, http.client.HTTPException) as error:
            self.answer(502, {"error": repr(error)})

    def ask_peer(self, name):
        try:
            return str(ask(options.peer, get_call(name))[0])
        except (OSError, http.client.HTTPException) as error:
            return "failed " + type(error).__name__

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in self.remarks.items():
            self.send_header(name, str(value))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, text, *values):
        print(f"dialect {DIALECT}: {text % values}", flush=True)


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


print(f"speaks dialect {DIALECT}", flush=True)
# Not time.sleep: it fails where libfaketime sets the clock.
select.select([], [], [], options.start_delay_ms / 1000)
Server(("127.0.0.1", options.port), Handler).serve_forever()
