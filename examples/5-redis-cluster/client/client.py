"""Callers of the cluster, by redis-py's cluster client: threads that write keys of their own and read everybody's, each operation
into a history file.

The history's lines are those of the store's client (examples/1-store/v1/software/load.py), with `"version": 0`: what is
sent and read is the JSON that the key holds. What the library makes good by itself (a redirection, a new look at the
cluster, a connection made anew) is part of the call; a connection that breaks in spite of that is written down.
"""

import argparse
import json
import os
import random
import signal
import threading
import time

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import ConnectionError, RedisClusterException, RedisError, TimeoutError

CALL_SECONDS = 60.0
PAUSE_SECONDS = 0.05
KEYS = 8
COLOURS = ("red", "green", "blue", "yellow")


class Client:
    def __init__(self, arguments):
        self.number, self.clients, self.workers = arguments.number, arguments.clients, arguments.workers
        self.pause = arguments.pause_ms / 1000
        self.nodes = [ClusterNode(host, int(port)) for host, _, port in
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

    def fault(self, error):
        kind = "refused" if "refused" in str(error) else "reset"
        self.add(kind=kind, wall_ms=time.time_ns() // 1_000_000, gateway="cluster", fault=repr(error))

    def connect(self):
        """A client of the library's, when the cluster can be reached."""
        while not self.stopping.is_set():
            try:
                return RedisCluster(startup_nodes=self.nodes, decode_responses=True,
                                    socket_timeout=CALL_SECONDS, socket_connect_timeout=CALL_SECONDS)
            except (RedisClusterException, ConnectionError, TimeoutError):
                time.sleep(PAUSE_SECONDS)
        return None

    def next_write(self):
        """A number for the write, and its clock, which rises over restarts too."""
        with self.lock:
            self.operations += 1
            self.last_clock = max(self.last_clock + 1, time.time_ns() // 1000)
            return self.operations, self.last_clock

    def run(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        threads = [threading.Thread(target=self.work, args=(number,)) for number in range(self.workers)]
        for thread in threads:
            thread.start()
        self.add(kind="ready", wall_ms=time.time_ns() // 1_000_000, version=0)
        while not self.stopping.wait(0.2):
            pass
        for thread in threads:
            thread.join()

    def work(self, worker):
        cluster = self.connect()
        while not self.stopping.is_set():
            if random.random() < 0.4:
                self.write(cluster, f"k-{self.number}-{worker}-{random.randrange(KEYS)}")
            else:
                self.read(cluster, f"k-{random.randrange(self.clients)}-{random.randrange(self.workers)}-{random.randrange(KEYS)}")
            time.sleep(self.pause * random.uniform(0.5, 1.5))
        if cluster:
            cluster.close()

    def write(self, cluster, key):
        number, clock = self.next_write()
        sent = {"value": random.randrange(1_000_000), "colour": random.choice(COLOURS), "clock": clock}
        self.add(kind="begin", id=number, key=key, **{"from": time.monotonic_ns()}, version=0, sent=sent)
        status, got = self.call(lambda: "OK" if cluster.set(key, json.dumps(sent, separators=(",", ":"))) else "not set")
        self.add(kind="write", id=number, to=time.monotonic_ns(), status=status, got=got)

    def read(self, cluster, key):
        begin = time.monotonic_ns()
        status, got = self.call(lambda: cluster.get(key))
        got = json.loads(got) if got and status == 200 else got
        self.add(kind="read", key=key, **{"from": begin}, to=time.monotonic_ns(), version=0, status=status, got=got)

    def call(self, ask):
        """Makes the call until it is answered: a worker's SET may be made again, since nobody else writes its keys."""
        last = time.monotonic() + CALL_SECONDS
        while time.monotonic() < last:
            try:
                return 200, ask()
            except (ConnectionError, TimeoutError) as error:
                self.fault(error)
            except RedisError as error:
                return 500, repr(error)
            time.sleep(PAUSE_SECONDS)
        return 0, None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--servers", required=True, help="addresses of the cluster's nodes, with commas between them")
    parser.add_argument("--history", required=True, help="the folder for the history")
    parser.add_argument("--number", type=int, required=True, help="this client's number, from 0")
    parser.add_argument("--clients", type=int, required=True, help="how many clients there are")
    parser.add_argument("--workers", type=int, default=4, help="calls at a time")
    parser.add_argument("--pause-ms", type=float, default=0.0, help="between two operations of a worker")
    Client(parser.parse_args()).run()


if __name__ == "__main__":
    main()
