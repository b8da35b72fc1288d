"""Greets by name and counts: POST /hello {"name": "Ada"} answers {"greeting": "Hello, Ada!", "count": 1}.

The counts are kept in counts.json. Nothing here knows of Upstart or of other versions.
"""

import argparse
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

arguments = argparse.ArgumentParser()
arguments.add_argument("--port", type=int, required=True)
arguments.add_argument("--state", required=True)
options = arguments.parse_args()
path = os.path.join(options.state, "counts.json")
lock = Lock()
counts = json.load(open(path)) if os.path.exists(path) else {}


def count(name):
    with lock:
        counts[name] = counts.get(name, 0) + 1
        with open(path + ".new", "w") as file:
            json.dump(counts, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + ".new", path)
        return counts[name]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/ready":
            return self.answer(200, {"ready": True})
        self.answer(404, {"error": "unknown path"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if self.path != "/hello" or not isinstance(body.get("name"), str):
            return self.answer(404, {"error": "unknown path"})
        name = body["name"]
        self.answer(200, {"greeting": f"Hello, {name}!", "count": count(name)})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, text, *values):
        print(text % values, flush=True)


ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
