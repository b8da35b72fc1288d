"""Callers of json-server in the words of one version, which the file `version` beside this one names: threads that write items of
their own and read everybody's, each operation into a history file.

The history's lines are those of the store's client (examples/1-store/v1/software/load.py), with `"version": 11` for 0.17.4 and
12 for 1.0.0-beta.3. A key is a client's, a worker's, a number and a server: the item of /posts with the id that follows from it.
"""

import argparse
import http.client
import json
import os
import random
import signal
import threading
import time

CALL_SECONDS = 90.0
PAUSE_SECONDS = 0.05
CALLS_MAX = 200
KEYS = 3
COLOURS = ("red", "green", "blue", "yellow")
STRANGE = 299

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "version"), encoding="utf-8") as file:
    IS_OLD = file.read().strip() == "1"
FORM = 11 if IS_OLD else 12


class Client:
    def __init__(self, arguments):
        self.number, self.clients, self.workers = arguments.number, arguments.clients, arguments.workers
        self.pause = arguments.pause_ms / 1000
        self.servers = arguments.servers.split(",")
        os.makedirs(arguments.history, exist_ok=True)
        self.began = time.time_ns()
        path = os.path.join(arguments.history, f"client-{self.number}-{self.began}.jsonl")
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.lock = threading.Lock()
        self.operations = 0
        self.last_clock = 0
        self.stopping = threading.Event()

    def add(self, **line):
        os.write(self.file, json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def next_write(self):
        """A number for the write, and its clock, which rises over restarts too."""
        with self.lock:
            self.operations += 1
            self.last_clock = max(self.last_clock + 1, time.time_ns() // 1000)
            return self.operations, self.last_clock

    def reach(self):
        """Waits until every server can be reached, as a program does whose servers may start after it."""
        for address in self.servers:
            while not self.stopping.is_set():
                try:
                    connection = http.client.HTTPConnection(address, timeout=30)
                    connection.connect()
                    connection.close()
                    break
                except OSError:
                    time.sleep(PAUSE_SECONDS)

    def run(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        self.reach()
        self.add(kind="ready", wall_ms=time.time_ns() // 1_000_000, version=FORM)
        threads = [threading.Thread(target=self.work, args=(number,)) for number in range(self.workers)]
        for thread in threads:
            thread.start()
        while not self.stopping.wait(0.2):
            pass
        for thread in threads:
            thread.join()

    def work(self, worker):
        connections = {}
        while not self.stopping.is_set():
            server = random.randrange(len(self.servers))
            choice = random.random()
            if choice < 0.4:
                self.write(connections, server, worker, random.randrange(KEYS))
            elif choice < 0.44 and not IS_OLD:
                self.make_and_delete(connections, server, worker)
            else:
                self.read(connections, server, random.randrange(self.clients), random.randrange(self.workers), random.randrange(KEYS))
            time.sleep(self.pause * random.uniform(0.5, 1.5))
        for connection, _ in connections.values():
            connection.close()

    def item(self, client, worker, number):
        return (client * self.workers + worker) * KEYS + number + 1

    def write(self, connections, server, worker, key):
        number, clock = self.next_write()
        name = f"k-{self.number}-{worker}-{key}-{server}"
        item = self.item(self.number, worker, key)
        sent = {"value": random.randrange(1_000_000), "colour": random.choice(COLOURS), "clock": clock}
        self.add(kind="begin", id=number, key=name, **{"from": time.monotonic_ns()}, version=FORM, sent=sent)
        method = random.choice(("PUT", "PATCH"))
        status, got, _ = self.call(connections, server, method, f"/posts/{item}", sent)
        if status == 200 and not self.is_item(got, item, sent):
            status = STRANGE
        self.add(kind="write", id=number, to=time.monotonic_ns(), status=status, got=got)

    def read(self, connections, server, client, worker, key):
        item = self.item(client, worker, key)
        begin = time.monotonic_ns()
        way = random.choice(WAYS)
        status, got = way(self, connections, server, item)
        if status is None:
            return
        if status == 200 and not self.is_item(got, item, {}):
            status = STRANGE
        self.add(kind="read", key=f"k-{client}-{worker}-{key}-{server}", **{"from": begin}, to=time.monotonic_ns(), version=FORM,
                 status=status, got=got)

    def is_item(self, got, item, holds):
        return isinstance(got, dict) and got.get("id") == (item if IS_OLD else str(item)) and holds.items() <= got.items()

    def plain(self, connections, server, item):
        status, got, _ = self.call(connections, server, "GET", f"/posts/{item}")
        return status, got

    def filtered(self, connections, server, item):
        status, got, _ = self.call(connections, server, "GET", f"/posts?id={item}")
        if status == 200:
            status, got = (200, got[0]) if isinstance(got, list) and len(got) == 1 else (STRANGE, got)
        return status, got

    def paged(self, connections, server, item):
        """The page of one item, with what either version says of pages."""
        size = "_limit" if IS_OLD else "_per_page"
        status, got, headers = self.call(connections, server, "GET", f"/posts?_page={item}&{size}=1")
        if status != 200:
            return status, got
        if IS_OLD:
            right = isinstance(got, list) and len(got) == 1 and int(headers.get("X-Total-Count", 0)) >= item and 'rel="last"' in headers.get("Link", "")
            return (200, got[0]) if right else (STRANGE, got)
        right = isinstance(got, dict) and len(got.get("data", ())) == 1 and got["pages"] == got["items"] >= item and got["prev"] == (item - 1 or None)
        return (200, got["data"][0]) if right else (STRANGE, got)

    def searched(self, connections, server, item):
        """What only the old version has: answered by it, refused for it by the adapter."""
        if not IS_OLD or random.random() > 0.1:
            return None, None
        status, got, _ = self.call(connections, server, "GET", "/posts?q=nothing-has-this")
        return (None, None) if (status, got) == (200, []) else (status, got)

    def make_and_delete(self, connections, server, worker):
        """Deleting answers with what was deleted, at either version of the server."""
        number, clock = self.next_write()
        made = {"id": f"t-{self.number}-{worker}-{self.began}-{number}", "level": clock}
        begin = time.monotonic_ns()
        status, got, _ = self.call(connections, server, "POST", "/tags", made, once=True)
        if status == 201 and got == made:
            status, got, _ = self.call(connections, server, "DELETE", f"/tags/{made['id']}", once=True)
            if status == 200 and got == made or status is None:
                return
        if status is not None:
            self.add(kind="read", key=f"k-{self.number}-{worker}-0-{server}", **{"from": begin}, to=time.monotonic_ns(), version=FORM,
                     status=STRANGE if status < 400 else status, got=got)

    def call(self, connections, server, method, target, body=None, once=False):
        """Makes the call until it is answered: a worker's item may be written again, since nobody else writes it."""
        last = time.monotonic() + CALL_SECONDS
        address = self.servers[server]
        while time.monotonic() < last:
            connection = None
            try:
                connection, calls = connections.pop(server, (None, 0))
                if connection is None:
                    connection = http.client.HTTPConnection(address, timeout=CALL_SECONDS)
                data = None if body is None else json.dumps(body)
                connection.request(method, target, data, {} if body is None else {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                if calls < CALLS_MAX and not answer.will_close:
                    connections[server] = (connection, calls + 1)
                else:
                    connection.close()
                return answer.status, self.decoded(answer, text), answer.headers
            except (OSError, http.client.HTTPException) as error:
                kind = "refused" if isinstance(error, ConnectionRefusedError) else "reset"
                self.add(kind=kind, wall_ms=time.time_ns() // 1_000_000, gateway=address, fault=repr(error))
                if connection:
                    connection.close()
            if once:
                return None, None, {}
            time.sleep(PAUSE_SECONDS)
        return 0, None, {}

    @staticmethod
    def decoded(answer, text):
        try:
            return json.loads(text)
        except ValueError:
            return text.decode(errors="replace")


WAYS = (Client.plain, Client.plain, Client.filtered, Client.paged, Client.searched)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--servers", required=True, help="the addresses of the servers, with commas between them")
    parser.add_argument("--history", required=True, help="the folder for the history")
    parser.add_argument("--number", type=int, required=True, help="this client's number, from 0")
    parser.add_argument("--clients", type=int, required=True, help="how many clients there are")
    parser.add_argument("--workers", type=int, default=4, help="calls at a time")
    parser.add_argument("--pause-ms", type=float, default=0.0, help="between two operations of a worker")
    Client(parser.parse_args()).run()


if __name__ == "__main__":
    main()
