"""Storage, version 3: keeps the newest object of each id in SQLite, tints in a table of their own, and pushes its objects to its peers."""

import argparse
import asyncio
import os
import random
import signal
import sqlite3
import sys

import wire
from quorum import Replica

SCHEMA = 3
TINTS = ("red", "green", "blue", "yellow")
REPAIR_SECONDS = 0.1


def is_object(body):
    """`{"content": {"number": 41, "tints": ["red"]}, "mark": {"time": 7}}`"""
    if not isinstance(body, dict) or set(body) != {"content", "mark"}:
        return False
    content, mark = body["content"], body["mark"]
    return (isinstance(content, dict) and set(content) == {"number", "tints"} and type(content["number"]) is int
            and isinstance(content["tints"], list) and len(content["tints"]) == 1 and content["tints"][0] in TINTS
            and isinstance(mark, dict) and set(mark) == {"time"} and type(mark["time"]) is int)


class Objects:
    """The objects in memory and in `store.db`, whose every commit is with the operating system when it is acknowledged."""

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        strange = set(os.listdir(directory)) - {"store.db", "store.db-wal", "store.db-shm"}
        if strange:
            sys.exit(f"storage 3: {directory} holds what this version does not know: {', '.join(sorted(strange))}")
        self.database = sqlite3.connect(os.path.join(directory, "store.db"), isolation_level=None)
        schema = self.database.execute("PRAGMA user_version").fetchone()[0]
        if schema not in (0, SCHEMA):
            sys.exit(f"storage 3: {directory}/store.db has schema {schema}, not {SCHEMA}")
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = NORMAL")
        if schema == 0:
            self.create()
        self.by_id = {
            identity: {"content": {"number": number, "tints": [tint]}, "mark": {"time": time}}
            for identity, number, tint, time in self.database.execute(
                "SELECT objects.id, number, tints.name, time FROM objects JOIN tints ON tints.id = objects.tint")}

    def create(self):
        self.database.executescript(
            "BEGIN; CREATE TABLE tints (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE); "
            "CREATE TABLE objects (id TEXT PRIMARY KEY, number INTEGER NOT NULL, "
            "tint INTEGER NOT NULL REFERENCES tints (id), time INTEGER NOT NULL) WITHOUT ROWID; "
            + "".join(f"INSERT INTO tints VALUES ({number}, '{name}'); " for number, name in enumerate(TINTS))
            + f"PRAGMA user_version = {SCHEMA}; COMMIT;")

    def put(self, identity, item):
        """Keeps the object unless a newer one is there; the mark of the one that is kept."""
        kept = self.by_id.get(identity)
        if kept is None or item["mark"]["time"] > kept["mark"]["time"]:
            content = item["content"]
            self.database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
                                  [identity, content["number"], TINTS.index(content["tints"][0]), item["mark"]["time"]])
            self.by_id[identity] = item
            return item["mark"]
        return kept["mark"]


def answerer(objects, noun):
    """What the data service (`objects`) and the repair service (`replicas`) answer."""
    prefix = f"/{noun}/"

    def answer(method, path, query, body):
        if path == "/ready" and method == "GET":
            return 200, {"ready": True}
        identity = path.removeprefix(prefix)
        if not path.startswith(prefix) or not identity or "/" in identity or query:
            return 400, {"problem": {"kind": "malformed"}}
        if method == "PUT" and is_object(body):
            return 200, {"accepted": objects.put(identity, body)}
        if method == "GET" and noun == "objects" and body is None:
            item = objects.by_id.get(identity)
            return (404, {"problem": {"kind": "missing"}}) if item is None else (200, {"id": identity, **item})
        return 400, {"problem": {"kind": "malformed"}}

    return answer


async def repair(objects, peers):
    """Pushes one object after the other to one peer after the other: the newer one wins there."""
    replicas = [Replica(peer) for peer in peers]
    while replicas:
        for identity in random.sample(list(objects.by_id), len(objects.by_id)):
            await asyncio.sleep(REPAIR_SECONDS)
            try:
                await random.choice(replicas).call("PUT", f"/replicas/{identity}", objects.by_id[identity])
            except (OSError, asyncio.TimeoutError):
                pass  # its turn comes again
        await asyncio.sleep(REPAIR_SECONDS)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--objects-port", type=int, required=True)
    parser.add_argument("--replicas-port", type=int, required=True)
    parser.add_argument("--peers", default="", help="the repair addresses of the other storage nodes")
    parser.add_argument("--home", required=True)
    arguments = parser.parse_args()
    objects = Objects(arguments.home)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    servers = [await wire.serve(arguments.address, arguments.objects_port, answerer(objects, "objects")),
               await wire.serve(arguments.address, arguments.replicas_port, answerer(objects, "replicas"))]
    pushing = asyncio.ensure_future(repair(objects, [peer for peer in arguments.peers.split(",") if peer]))
    print(f"storage 3 listens on {arguments.objects_port} with {len(objects.by_id)} objects", flush=True)
    await stop.wait()
    pushing.cancel()
    await wire.finish(servers)
    objects.database.close()


if __name__ == "__main__":
    asyncio.run(main())
