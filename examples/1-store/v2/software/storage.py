"""Storage, version 2: keeps the newest row of each name in SQLite and pushes its rows to its peers."""

import argparse
import asyncio
import os
import random
import signal
import sqlite3
import sys

import wire
from quorum import Replica

SCHEMA = 2
SHADES = ("RED", "GREEN", "BLUE", "YELLOW")
FIELDS = ("name", "data", "shade", "stamp")
REPAIR_SECONDS = 0.1


def is_row(body):
    return (isinstance(body, dict) and set(body) == set(FIELDS) and isinstance(body["name"], str) and body["name"]
            and isinstance(body["data"], str) and body["data"].isascii() and body["data"].lstrip("-").isdigit()
            and body["shade"] in SHADES and type(body["stamp"]) is int)


class Rows:
    """The rows in memory and in `store.db`, whose every commit is with the operating system when it is acknowledged."""

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        strange = set(os.listdir(directory)) - {"store.db", "store.db-wal", "store.db-shm"}
        if strange:
            sys.exit(f"storage 2: {directory} holds what this version does not know: {', '.join(sorted(strange))}")
        self.database = sqlite3.connect(os.path.join(directory, "store.db"), isolation_level=None)
        schema = self.database.execute("PRAGMA user_version").fetchone()[0]
        if schema not in (0, SCHEMA):
            sys.exit(f"storage 2: {directory}/store.db has schema {schema}, not {SCHEMA}")
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = NORMAL")
        self.database.execute("CREATE TABLE IF NOT EXISTS rows (name TEXT PRIMARY KEY, data TEXT NOT NULL, "
                              "shade TEXT NOT NULL, stamp INTEGER NOT NULL) WITHOUT ROWID")
        self.database.execute(f"PRAGMA user_version = {SCHEMA}")
        self.by_name = {row[0]: dict(zip(FIELDS, row)) for row in self.database.execute("SELECT * FROM rows")}

    def put(self, row):
        """Keeps the row unless a newer one is there; the stamp of the one that is kept."""
        kept = self.by_name.get(row["name"])
        if kept is None or row["stamp"] > kept["stamp"]:
            self.database.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", [row[field] for field in FIELDS])
            self.by_name[row["name"]] = row
            return row["stamp"]
        return kept["stamp"]


def answerer(rows, path_of_service):
    """What the data service (`/rows`) and the repair service (`/sync`) answer."""

    def answer(method, path, query, body):
        if path == "/status" and method == "GET":
            return 200, {"status": "UP"}
        if path == path_of_service and method == "POST" and not query and is_row(body):
            return 201, {"stamp": rows.put(body)}
        if path == path_of_service == "/rows" and method == "GET" and set(query) == {"name"} and body is None:
            row = rows.by_name.get(query["name"])
            return (410, {"code": "UNKNOWN_NAME"}) if row is None else (200, row)
        return 422, {"code": "BAD_CALL"}

    return answer


async def repair(rows, peers):
    """Pushes one row after the other to one peer after the other: the newer one wins there."""
    replicas = [Replica(peer) for peer in peers]
    while replicas:
        for name in random.sample(list(rows.by_name), len(rows.by_name)):
            await asyncio.sleep(REPAIR_SECONDS)
            try:
                await random.choice(replicas).call("POST", "/sync", rows.by_name[name])
            except (OSError, asyncio.TimeoutError):
                pass  # its turn comes again
        await asyncio.sleep(REPAIR_SECONDS)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--data-port", type=int, required=True)
    parser.add_argument("--sync-port", type=int, required=True)
    parser.add_argument("--peers", default="", help="the repair addresses of the other storage nodes")
    parser.add_argument("--directory", required=True)
    arguments = parser.parse_args()
    rows = Rows(arguments.directory)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    servers = [await wire.serve(arguments.listen, arguments.data_port, answerer(rows, "/rows")),
               await wire.serve(arguments.listen, arguments.sync_port, answerer(rows, "/sync"))]
    pushing = asyncio.ensure_future(repair(rows, [peer for peer in arguments.peers.split(",") if peer]))
    print(f"storage 2 listens on {arguments.data_port} with {len(rows.by_name)} names", flush=True)
    await stop.wait()
    pushing.cancel()
    await wire.finish(servers)
    rows.database.close()


if __name__ == "__main__":
    asyncio.run(main())
