"""Greets by name and counts: POST /greetings/Ada answers {"text": "Hello, Ada!", "times": 1}.

The counts are kept in counts.tsv. Version 1's path, fields and file mean nothing here.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import unquote

port, state = int(sys.argv[1]), sys.argv[2]
path = os.path.join(state, "counts.tsv")
lock = Lock()
times = {}
if os.path.exists(path):
    for line in open(path):
        number, name = line.rstrip("\n").split("\t", 1)
        times[name] = int(number)


def greet(name):
    with lock:
        times[name] = times.get(name, 0) + 1
        with open(path + ".new", "w") as file:
            file.writelines(f"{number}\t{known}\n" for known, number in sorted(times.items()))
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + ".new", path)
        return times[name]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, {"healthy": True})
        self.answer(404, {"problem": "no such resource"})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        prefix, _, name = self.path.rpartition("/")
        if prefix != "/greetings" or not name:
            return self.answer(404, {"problem": "no such resource"})
        name = unquote(name)
        self.answer(200, {"text": f"Hello, {name}!", "times": greet(name)})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, text, *values):
        print(text % values, flush=True)


ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
