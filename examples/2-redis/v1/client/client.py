"""Callers of redis: threads that write keys of their own and read everybody's, each operation into a history file.

The history's lines are those of the store's client (examples/1-store/v1/software/load.py), with `"version": 0`: what is
sent and read is the JSON that the key holds.
"""

import argparse
import json
import os
import random
import signal
import socket
import threading
import time

CALL_SECONDS = 90.0
PAUSE_SECONDS = 0.05
CALLS_MAX = 200
KEYS = 3
COLOURS = ("red", "green", "blue", "yellow")


class Connection:
    """One connection with redis: blocking, one command at a time (RESP2)."""

    def __init__(self, address, seconds):
        self.socket = socket.create_connection(address, timeout=seconds)
        self.file = self.socket.makefile("rb")

    def call(self, *words):
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            data = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.socket.sendall(b"".join(parts))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the connection was closed before the answer")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"$" and rest == b"-1":
            return None
        if kind == b"$":
            data = self.file.read(int(rest) + 2)
            if len(data) < int(rest) + 2:
                raise ConnectionResetError("the connection was closed in the answer")
            return data[:-2].decode()
        raise ValueError(line.decode(errors="replace"))

    def close(self):
        self.file.close()
        self.socket.close()


class Client:
    def __init__(self, arguments):
        self.number, self.clients, self.workers = arguments.number, arguments.clients, arguments.workers
        self.pause = arguments.pause_ms / 1000
        self.servers = [(host, int(port)) for host, _, port in
                        (address.rpartition(":") for address in arguments.servers.split(","))]
        os.makedirs(arguments.history, exist_ok=True)
        path = os.path.join(arguments.history, f"client-{self.number}-{time.time_ns()}.jsonl")
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
                    Connection(address, 30).close()
                    break
                except OSError:
                    time.sleep(PAUSE_SECONDS)

    def run(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        self.reach()
        self.add(kind="ready", wall_ms=time.time_ns() // 1_000_000, version=0)
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
            if random.random() < 0.4:
                self.write(connections, server, f"k-{self.number}-{worker}-{random.randrange(KEYS)}-{server}")
            else:
                key = f"k-{random.randrange(self.clients)}-{random.randrange(self.workers)}-{random.randrange(KEYS)}-{server}"
                self.read(connections, server, key)
            time.sleep(self.pause * random.uniform(0.5, 1.5))
        for connection in connections.values():
            connection[0].close()

    def write(self, connections, server, key):
        number, clock = self.next_write()
        sent = {"value": random.randrange(1_000_000), "colour": random.choice(COLOURS), "clock": clock}
        self.add(kind="begin", id=number, key=key, **{"from": time.monotonic_ns()}, version=0, sent=sent)
        status, got = self.call(connections, server, "SET", key, json.dumps(sent, separators=(",", ":")))
        self.add(kind="write", id=number, to=time.monotonic_ns(), status=status, got=got)

    def read(self, connections, server, key):
        begin = time.monotonic_ns()
        status, got = self.call(connections, server, "GET", key)
        got = json.loads(got) if got and status == 200 else got
        self.add(kind="read", key=key, **{"from": begin}, to=time.monotonic_ns(), version=0, status=status, got=got)

    def call(self, connections, server, *words):
        """Makes the call until it is answered: a worker's SET may be made again, since nobody else writes its keys."""
        last = time.monotonic() + CALL_SECONDS
        address = self.servers[server]
        while time.monotonic() < last:
            connection = None
            try:
                connection, calls = connections.pop(server, (None, 0))
                if connection is None:
                    connection = Connection(address, CALL_SECONDS)
                answer = connection.call(*words)
                if calls < CALLS_MAX:
                    connections[server] = (connection, calls + 1)
                else:
                    connection.close()
                return 200, answer
            except ValueError as error:
                connection.close()
                return 500, str(error)
            except OSError as error:
                kind = "refused" if isinstance(error, ConnectionRefusedError) else "reset"
                self.add(kind=kind, wall_ms=time.time_ns() // 1_000_000, gateway=f"{address[0]}:{address[1]}", fault=repr(error))
                if connection:
                    connection.close()
            time.sleep(PAUSE_SECONDS)
        return 0, None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--servers", required=True, help="the addresses of the redis servers, with commas between them")
    parser.add_argument("--history", required=True, help="the folder for the history")
    parser.add_argument("--number", type=int, required=True, help="this client's number, from 0")
    parser.add_argument("--clients", type=int, required=True, help="how many clients there are")
    parser.add_argument("--workers", type=int, default=4, help="calls at a time")
    parser.add_argument("--pause-ms", type=float, default=0.0, help="between two operations of a worker")
    Client(parser.parse_args()).run()


if __name__ == "__main__":
    main()
