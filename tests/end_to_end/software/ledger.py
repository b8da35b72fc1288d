"""Boxes of numbers (the first dialect) that are kept in memory and written when the process is told to end, a moment later: as many
programs flush what they have acknowledged. Nothing here knows of Upstart."""

import argparse
import errno
import json
import os
import re
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

arguments = argparse.ArgumentParser()
arguments.add_argument("--port", type=int, required=True)
arguments.add_argument("--state", required=True)
arguments.add_argument("--daemon", action="store_true", help="forks twice, and its starter ends")
arguments.add_argument("--patient", action="store_true", help="tries to bind until it can")
arguments.add_argument("--deaf-to-term", action="store_true")
arguments.add_argument("--unhealthy", action="store_true")
arguments.add_argument("--unhealthy-while", help="as long as there is such a file")
options = arguments.parse_args()
path = os.path.join(options.state, "boxes.json")

if options.daemon:
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    with open(os.path.join(options.state, "ledger.pid"), "w") as file:
        file.write(f"{os.getpid()}\n")

boxes = json.load(open(path)) if os.path.exists(path) else {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        if self.path == "/ready":
            silent = options.unhealthy_while and os.path.exists(options.unhealthy_while)
            return self.answer(503 if options.unhealthy or silent else 200, {})
        name = re.fullmatch("/boxes/([a-z0-9-]+)", self.path)
        if not name:
            return self.answer(404, {"error": "no such call"})
        if self.command == "PUT":
            boxes[name[1]] = body["count"]
        if name[1] not in boxes:
            return self.answer(404, {"error": "no such box"})
        self.answer(200, {"name": name[1], "count": boxes[name[1]]})

    do_GET = do_PUT = serve

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("X-Pid", str(os.getpid()))
        self.send_header("X-Caller", "%s:%s" % self.client_address[:2])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, text, *values):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def server():
    while True:
        try:
            return Server(("127.0.0.1", options.port), Handler)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not options.patient:
                raise
            time.sleep(0.05)


def finish(*_):
    print("is told to end", flush=True)
    if options.deaf_to_term:
        return
    time.sleep(0.3)
    with open(path + ".new", "w") as file:
        json.dump(boxes, file)
    os.rename(path + ".new", path)
    print("has finished", flush=True)
    os._exit(0)


signal.signal(signal.SIGTERM, finish)
serving = server()
threading.Thread(target=serving.serve_forever, daemon=True).start()
while True:
    signal.pause()
