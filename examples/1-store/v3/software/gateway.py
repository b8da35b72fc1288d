"""Gateway, version 3: the store as its users see it; writes go to a majority of the storage nodes, reads come from one."""

import argparse
import asyncio
import signal
from urllib.parse import quote

import wire
from quorum import NoMajority, Quorum
from storage import is_object


class Gateway:
    def __init__(self, storage):
        self.quorum = Quorum(storage)

    async def answer(self, method, path, query, body):
        if path == "/ready" and method == "GET":
            return 200, {"ready": True}
        identity = path.removeprefix("/store/")
        if not path.startswith("/store/") or not identity or "/" in identity or query:
            return 400, {"problem": {"kind": "malformed"}}
        try:
            if method == "PUT" and is_object(body):
                return await self.write(identity, body)
            if method == "GET" and body is None:
                return await self.read(identity)
        except NoMajority:
            return 503, {"problem": {"kind": "no-majority"}}
        return 400, {"problem": {"kind": "malformed"}}

    async def write(self, identity, item):
        answers = await self.quorum.call("PUT", f"/objects/{quote(identity)}", item, {200})
        return 200, {"outcome": {"written": True, "replicas": len(answers)}}

    async def read(self, identity):
        target = f"/objects/{quote(identity)}"
        newest = None

        def repair(replica, status, found):
            if newest and (status == 404 or found["mark"]["time"] < newest["mark"]["time"]):
                self.quorum.send(replica, "PUT", target, {name: newest[name] for name in ("content", "mark")})

        answers = await self.quorum.call("GET", target, None, {200, 404}, late=repair)
        found = [answer for _, status, answer in answers if status == 200]
        if not found:
            return 404, {"problem": {"kind": "missing"}}
        newest = max(found, key=lambda item: item["mark"]["time"])
        for answer in answers:
            repair(*answer)
        return 200, newest


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--store-port", type=int, required=True)
    parser.add_argument("--storage", required=True, help="the addresses of the storage nodes, with commas between them")
    arguments = parser.parse_args()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    gateway = Gateway(arguments.storage.split(","))
    server = await wire.serve(arguments.address, arguments.store_port, gateway.answer)
    print(f"gateway 3 listens on {arguments.store_port}", flush=True)
    await stop.wait()
    await wire.finish([server])


if __name__ == "__main__":
    asyncio.run(main())
