"""A client's work: each worker writes keys of its own and reads everybody's; every operation goes into a history file.

A line of the history is one of
  {"kind":"begin","id":I,"key":K,"from":T,"version":V,"sent":{...}}                                  a write begins
  {"kind":"write","id":I,"to":T,"status":S,"got":{...}}                                              and is answered
  {"kind":"read","key":K,"from":T,"to":T,"version":V,"status":S,"got":{...}}                         a read
  {"kind":"reset" or "refused","wall_ms":W,"gateway":"host:port","fault":"..."}                      a connection broke; the call is made again
  {"kind":"ready","wall_ms":W,"version":V}                                                           the start is over
Times are nanoseconds of the machine's monotonic clock. A status of 0 means that no answer came in time.
"""

import asyncio
import json
import os
import random
import signal
import time

from wire import ClientConnection

CALL_SECONDS = 90.0     # then an operation has failed
PAUSE_SECONDS = 0.05    # after a connection broke
CALLS_MAX = 200         # on one connection, then the worker goes to the next gateway
KEYS = 3                # written by each worker
COLOURS = ("red", "green", "blue", "yellow")


class History:
    """The file; each line is with the operating system before anything else happens."""

    def __init__(self, directory, name):
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, f"{name}-{time.time_ns()}.jsonl")
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def add(self, **line):
        os.write(self.file, json.dumps(line, separators=(",", ":")).encode() + b"\n")


class Worker:
    def __init__(self, load, number):
        self.load, self.number = load, number
        self.turn = load.number + number
        self.calls = 0
        self.connection = None

    async def run(self):
        load = self.load
        await asyncio.sleep(random.random() * 0.1)
        while not load.stopping.is_set():
            if random.random() < load.writes:
                await self.write(f"k-{load.number}-{self.number}-{random.randrange(KEYS)}")
            else:
                await self.read(f"k-{random.randrange(load.clients)}-{random.randrange(load.workers)}-{random.randrange(KEYS)}")
            if load.pause:
                await asyncio.sleep(load.pause * random.uniform(0.5, 1.5))
        if self.connection:
            self.connection.close()

    async def write(self, key):
        load = self.load
        method, target, sent = load.form.write(key, random.randrange(1_000_000), random.choice(COLOURS), load.clock())
        load.operations += 1
        number = load.operations
        load.history.add(kind="begin", id=number, key=key, **{"from": time.monotonic_ns()}, version=load.form.VERSION, sent=sent)
        status, got = await self.call(method, target, sent)
        load.history.add(kind="write", id=number, to=time.monotonic_ns(), status=status, got=got)

    async def read(self, key):
        begin = time.monotonic_ns()
        status, got = await self.call(*self.load.form.read(key))
        self.load.history.add(kind="read", key=key, **{"from": begin}, to=time.monotonic_ns(),
                              version=self.load.form.VERSION, status=status, got=got)

    async def call(self, method, target, content):
        """Makes the call until it is answered: reads and writes (which carry their clock) may be made again."""
        load = self.load
        last = time.monotonic() + CALL_SECONDS
        while time.monotonic() < last:
            host, port = load.gateways[self.turn % len(load.gateways)]
            try:
                if self.connection is None or self.connection.closed:
                    self.connection = await ClientConnection.open(host, port)
                    self.calls = 0
                answer = await self.connection.call(method, target, content, last - time.monotonic())
                self.calls += 1
                if self.calls >= CALLS_MAX:
                    self.leave()
                return answer
            except ConnectionRefusedError as error:
                load.broken("refused", host, port, error)
                self.leave()
            except asyncio.TimeoutError:
                self.leave()
            except OSError as error:
                load.broken("reset", host, port, error)
                self.connection = None  # the same gateway once more: it is expected to be back
            await asyncio.sleep(PAUSE_SECONDS)
        return 0, None

    def leave(self):
        """Goes to the next gateway."""
        if self.connection:
            self.connection.close()
        self.connection = None
        self.turn += 1


class Load:
    def __init__(self, form, arguments):
        self.form = form
        self.number, self.clients, self.workers = arguments.number, arguments.clients, arguments.workers
        self.writes, self.pause = arguments.writes, arguments.pause_ms / 1000
        self.gateways = []
        for address in arguments.gateways.split(","):
            host, _, port = address.rpartition(":")
            self.gateways.append((host, int(port)))
        self.history = History(arguments.history, f"client-{arguments.number}")
        self.operations = 0
        self.last_clock = 0
        self.stopping = asyncio.Event()

    def clock(self):
        """Rises with every write of this client, over restarts too: microseconds of the wall clock."""
        self.last_clock = max(self.last_clock + 1, time.time_ns() // 1000)
        return self.last_clock

    def broken(self, kind, host, port, error):
        self.history.add(kind=kind, wall_ms=time.time_ns() // 1_000_000, gateway=f"{host}:{port}", fault=repr(error))

    async def reach(self):
        """Waits until every gateway can be reached, as a program does whose servers may start after it."""
        for host, port in self.gateways:
            while not self.stopping.is_set():
                try:
                    (await ClientConnection.open(host, port)).close()
                    break
                except (OSError, asyncio.TimeoutError):
                    await asyncio.sleep(PAUSE_SECONDS)

    async def run(self):
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        print(f"client {self.form.VERSION} starts", flush=True)
        await self.reach()
        self.history.add(kind="ready", wall_ms=time.time_ns() // 1_000_000, version=self.form.VERSION)
        await asyncio.gather(*(Worker(self, number).run() for number in range(self.workers)))


def options(parser):
    """The command line, which all versions share."""
    parser.add_argument("--gateways", required=True, help="the gateways' addresses, with commas between them")
    parser.add_argument("--history", required=True, help="the folder for the history")
    parser.add_argument("--number", type=int, required=True, help="this client's number, from 0")
    parser.add_argument("--clients", type=int, required=True, help="how many clients there are")
    parser.add_argument("--workers", type=int, default=4, help="calls at a time")
    parser.add_argument("--writes", type=float, default=0.4, help="the share of writes")
    parser.add_argument("--pause-ms", type=float, default=0.0, help="between two operations of a worker")
    return parser
