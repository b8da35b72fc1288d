"""Storage, version 1: keeps the newest record of each key as JSON lines and pushes its records to its peers."""

import argparse
import asyncio
import json
import os
import random
import signal
import sys

import wire
from quorum import Replica

HEADER = {"format": "store", "version": 1}
COLOURS = ("red", "green", "blue", "yellow")
REPAIR_SECONDS = 0.1


def is_record(body):
    return (isinstance(body, dict) and set(body) == {"value", "colour", "clock"} and type(body["value"]) is int
            and body["colour"] in COLOURS and type(body["clock"]) is int)


class Records:
    """The records in memory and, line by line, in `records.jsonl`: what was written there survives the process."""

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        strange = set(os.listdir(directory)) - {"records.jsonl"}
        if strange:
            sys.exit(f"storage 1: {directory} holds what this version does not know: {', '.join(sorted(strange))}")
        self.by_key = {}
        path = os.path.join(directory, "records.jsonl")
        self.load(path)
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        if os.fstat(self.file).st_size == 0:
            self.append(HEADER)

    def load(self, path):
        if not os.path.exists(path):
            return
        with open(path, "rb+") as file:
            lines = file.read().split(b"\n")
            if lines[-1]:  # the process was killed in the middle of this line: it was never acknowledged
                file.truncate(file.tell() - len(lines[-1]))
        lines.pop()
        if lines and json.loads(lines[0]) != HEADER:
            sys.exit(f"storage 1: {path} is not of version 1")
        for line in lines[1:]:
            record = json.loads(line)
            key = record.pop("key")
            if not is_record(record):
                sys.exit(f"storage 1: {path} holds a record that is not of version 1: {line!r}")
            self.by_key[key] = record

    def append(self, line):
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        while data:
            data = data[os.write(self.file, data):]

    def put(self, key, record):
        """Keeps the record unless a newer one is there; the clock of the one that is kept."""
        kept = self.by_key.get(key)
        if kept is None or record["clock"] > kept["clock"]:
            self.append({"key": key, **record})
            self.by_key[key] = record
            return record["clock"]
        return kept["clock"]


def answerer(records, noun):
    """What the data service (`records`) and the repair service (`copies`) answer."""
    prefix = f"/{noun}/"

    def answer(method, path, query, body):
        if path == "/health" and method == "GET":
            return 200, {"healthy": True}
        key = path.removeprefix(prefix)
        if not path.startswith(prefix) or not key or "/" in key or query:
            return 400, {"error": "bad call"}
        if method == "PUT" and is_record(body):
            return 200, {"clock": records.put(key, body)}
        if method == "GET" and noun == "records":
            record = records.by_key.get(key)
            return (404, {"error": "no such key"}) if record is None else (200, {"key": key, **record})
        return 400, {"error": "bad call"}

    return answer


async def repair(records, peers):
    """Pushes one record after the other to one peer after the other: the newer one wins there."""
    replicas = [Replica(peer) for peer in peers]
    while replicas:
        for key in random.sample(list(records.by_key), len(records.by_key)):
            await asyncio.sleep(REPAIR_SECONDS)
            try:
                await random.choice(replicas).call("PUT", f"/copies/{key}", records.by_key[key])
            except (OSError, asyncio.TimeoutError):
                pass  # its turn comes again
        await asyncio.sleep(REPAIR_SECONDS)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--repair-port", type=int, required=True)
    parser.add_argument("--peers", default="", help="the repair addresses of the other storage nodes")
    parser.add_argument("--state", required=True)
    arguments = parser.parse_args()
    records = Records(arguments.state)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    servers = [await wire.serve(arguments.host, arguments.port, answerer(records, "records")),
               await wire.serve(arguments.host, arguments.repair_port, answerer(records, "copies"))]
    pushing = asyncio.ensure_future(repair(records, [peer for peer in arguments.peers.split(",") if peer]))
    print(f"storage 1 listens on {arguments.port} with {len(records.by_key)} keys", flush=True)
    await stop.wait()
    pushing.cancel()
    await wire.finish(servers)


if __name__ == "__main__":
    asyncio.run(main())
