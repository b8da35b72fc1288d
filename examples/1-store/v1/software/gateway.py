"""Gateway, version 1: the store as its users see it; writes go to a majority of the storage nodes, reads come from one."""

import argparse
import asyncio
import signal
from urllib.parse import quote

import wire
from quorum import NoMajority, Quorum
from storage import is_record


class Gateway:
    def __init__(self, storage):
        self.quorum = Quorum(storage)

    async def answer(self, method, path, query, body):
        if path == "/health" and method == "GET":
            return 200, {"healthy": True}
        key = path.removeprefix("/keys/")
        if not path.startswith("/keys/") or not key or "/" in key or query:
            return 400, {"error": "bad call"}
        try:
            if method == "PUT" and is_record(body):
                return await self.write(key, body)
            if method == "GET" and body is None:
                return await self.read(key)
        except NoMajority:
            return 503, {"error": "no majority"}
        return 400, {"error": "bad call"}

    async def write(self, key, record):
        answers = await self.quorum.call("PUT", f"/records/{quote(key)}", record, {200})
        return 200, {"stored": True, "copies": len(answers)}

    async def read(self, key):
        target = f"/records/{quote(key)}"
        newest = None

        def repair(replica, status, found):
            if newest and (status == 404 or found["clock"] < newest["clock"]):
                self.quorum.send(replica, "PUT", target, {name: newest[name] for name in ("value", "colour", "clock")})

        answers = await self.quorum.call("GET", target, None, {200, 404}, late=repair)
        found = [answer for _, status, answer in answers if status == 200]
        if not found:
            return 404, {"error": "no such key"}
        newest = max(found, key=lambda record: record["clock"])
        for answer in answers:
            repair(*answer)
        return 200, newest


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--storage", required=True, help="the addresses of the storage nodes, with commas between them")
    arguments = parser.parse_args()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    gateway = Gateway(arguments.storage.split(","))
    server = await wire.serve(arguments.host, arguments.port, gateway.answer)
    print(f"gateway 1 listens on {arguments.port}", flush=True)
    await stop.wait()
    await wire.finish([server])


if __name__ == "__main__":
    asyncio.run(main())
