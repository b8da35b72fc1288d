"""A set of integers, each with a colour, over HTTP. It knows nothing of other versions.

    GET    /numbers           200 [1, 7]
    PUT    /numbers/7         {"colour": "red"}: 201, or 409 where it is in the set
    GET    /numbers/7         200 {"number": 7, "colour": "red"}, or 404
    DELETE /numbers/7         204, or 404
    PUT    /numbers/7/colour  {"colour": "blue"}: 200, or 404

An answer that has a number's colour has an `ETag`: it is another one after each change of that number, and never comes again.
The state is a file that is written anew at each change: `{"revision": 9, "numbers": {"7": {"colour": "red", "inserted": 4, "changed": 9}}}`,
where `changed` is what the `ETag` shows.
"""

import argparse
import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COLOURS = ("grey", "red", "green", "blue")
NUMBER = re.compile(r"/numbers/(0|-?[1-9][0-9]{0,17})(/colour)?")


class Numbers:
    def __init__(self, folder):
        self.path = os.path.join(folder, "numbers.json")
        self.lock = threading.Lock()
        self.data = {"revision": 0, "numbers": {}}
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.data = json.load(file)

    def save(self):
        """Durable before anybody is answered."""
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.data, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(self.path + ".new", self.path)

    def change(self, number, colour):
        self.data["revision"] += 1
        revision = self.data["revision"]
        entry = self.data["numbers"].setdefault(number, {"inserted": revision})
        entry.update(colour=colour, changed=revision)
        self.save()
        return entry

    def insert(self, number, colour):
        return None if number in self.data["numbers"] else self.change(number, colour)

    def set_colour(self, number, colour):
        return self.change(number, colour) if number in self.data["numbers"] else None

    def delete(self, number):
        if self.data["numbers"].pop(number, None) is None:
            return False
        self.save()
        return True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=None, entry=None):
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if content:
            self.send_header("Content-Type", "application/json")
        if entry:
            self.send_header("ETag", f'"{entry["changed"]}"')
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def handle_call(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if (self.command, self.path) == ("GET", "/health"):
            return self.answer(200, {})
        with self.server.numbers.lock:
            if (self.command, self.path) == ("GET", "/numbers"):
                return self.answer(200, sorted(int(number) for number in self.server.numbers.data["numbers"]))
            match = NUMBER.fullmatch(self.path)
            if match is None:
                return self.answer(404, {"error": "no such path"})
            return self.of_number(match[1], match[2] is not None, body)

    do_GET = do_PUT = do_DELETE = handle_call

    def of_number(self, number, is_colour, body):
        numbers = self.server.numbers
        absent = (404, {"error": "not in the set"})
        if self.command == "PUT":
            colour = colour_of(body)
            if colour is None:
                return self.answer(400, {"error": "a colour is one of " + ", ".join(COLOURS)})
            entry = (numbers.set_colour if is_colour else numbers.insert)(number, colour)
            if entry is None:
                return self.answer(*(absent if is_colour else (409, {"error": "in the set"})))
            return self.answer(200 if is_colour else 201, {"number": int(number), "colour": colour}, entry)
        if is_colour:
            return self.answer(405, {"error": "PUT alone"})
        if self.command == "DELETE":
            return self.answer(204) if numbers.delete(number) else self.answer(*absent)
        entry = numbers.data["numbers"].get(number)
        if entry is None:
            return self.answer(*absent)
        return self.answer(200, {"number": int(number), "colour": entry["colour"]}, entry)


def colour_of(body):
    try:
        colour = json.loads(body)["colour"]
    except (ValueError, KeyError, TypeError):
        return None
    return colour if colour in COLOURS else None


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main():
    parser = argparse.ArgumentParser(description="a set of integers, each with a colour")
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", required=True)
    arguments = parser.parse_args()
    server = Server((arguments.listen, arguments.port), Handler)
    server.numbers = Numbers(arguments.state)
    server.serve_forever()


if __name__ == "__main__":
    main()
