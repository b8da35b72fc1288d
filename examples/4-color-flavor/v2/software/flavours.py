"""A set of integers, each with a flavour, over HTTP. It knows nothing of other versions.

    GET    /items      200 {"items": [1, 7]}
    POST   /items      {"item": 7, "flavour": "sweet"}: 201, or 409 where it is in the set
    GET    /items/7    200 {"item": 7, "flavour": "sweet"}, or 404
    DELETE /items/7    204, or 404
    PATCH  /items/7    {"flavour": "sour"}: 200, or 404

An answer that has an item's flavour has an `ETag`: it is another one after each change of that item, and never comes again.
The state is a file that is written anew at each change: `{"revision": 9, "items": {"7": {"flavour": "sour", "inserted": 4, "changed": 9}}}`,
where `changed` is what the `ETag` shows.
"""

import argparse
import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FLAVOURS = ("plain", "sweet", "sour", "bitter")
ITEM = re.compile(r"/items/(0|-?[1-9][0-9]{0,17})")


class Items:
    def __init__(self, folder):
        self.path = os.path.join(folder, "items.json")
        self.lock = threading.Lock()
        self.data = {"revision": 0, "items": {}}
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

    def change(self, item, flavour):
        self.data["revision"] += 1
        revision = self.data["revision"]
        entry = self.data["items"].setdefault(item, {"inserted": revision})
        entry.update(flavour=flavour, changed=revision)
        self.save()
        return entry

    def insert(self, item, flavour):
        return None if item in self.data["items"] else self.change(item, flavour)

    def set_flavour(self, item, flavour):
        return self.change(item, flavour) if item in self.data["items"] else None

    def delete(self, item):
        if self.data["items"].pop(item, None) is None:
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
        if (self.command, self.path) == ("GET", "/status"):
            return self.answer(200, {})
        with self.server.items.lock:
            if self.path == "/items":
                return self.of_set(body)
            match = ITEM.fullmatch(self.path)
            if match is None:
                return self.answer(404, {"problem": "no such path"})
            return self.of_item(match[1], body)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_call

    def of_set(self, body):
        items = self.server.items
        if self.command == "GET":
            return self.answer(200, {"items": sorted(int(item) for item in items.data["items"])})
        if self.command != "POST":
            return self.answer(405, {"problem": "GET or POST"})
        given = fields_of(body)
        flavour = flavour_of(given)
        if flavour is None or type(given.get("item")) is not int:
            return self.answer(400, {"problem": "an item, and a flavour of " + ", ".join(FLAVOURS)})
        entry = items.insert(str(given["item"]), flavour)
        if entry is None:
            return self.answer(409, {"problem": "in the set"})
        return self.answer(201, {"item": given["item"], "flavour": flavour}, entry)

    def of_item(self, item, body):
        items = self.server.items
        absent = (404, {"problem": "not in the set"})
        if self.command == "PATCH":
            flavour = flavour_of(fields_of(body))
            if flavour is None:
                return self.answer(400, {"problem": "a flavour is one of " + ", ".join(FLAVOURS)})
            entry = items.set_flavour(item, flavour)
            if entry is None:
                return self.answer(*absent)
            return self.answer(200, {"item": int(item), "flavour": flavour}, entry)
        if self.command == "DELETE":
            return self.answer(204) if items.delete(item) else self.answer(*absent)
        if self.command != "GET":
            return self.answer(405, {"problem": "GET, PATCH or DELETE"})
        entry = items.data["items"].get(item)
        if entry is None:
            return self.answer(*absent)
        return self.answer(200, {"item": int(item), "flavour": entry["flavour"]}, entry)


def fields_of(body):
    try:
        fields = json.loads(body)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def flavour_of(fields):
    flavour = fields.get("flavour")
    return flavour if flavour in FLAVOURS else None


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main():
    parser = argparse.ArgumentParser(description="a set of integers, each with a flavour")
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", required=True)
    arguments = parser.parse_args()
    server = Server((arguments.listen, arguments.port), Handler)
    server.items = Items(arguments.state)
    server.serve_forever()


if __name__ == "__main__":
    main()
