"""Gateway, version 2: the store as its users see it; writes go to a majority of the storage nodes, reads come from one."""

import argparse
import asyncio
import signal
from urllib.parse import quote

import wire
from quorum import NoMajority, Quorum
from storage import is_row


class Gateway:
    def __init__(self, storage):
        self.quorum = Quorum(storage)

    async def answer(self, method, path, query, body):
        if path == "/status" and method == "GET":
            return 200, {"status": "UP"}
        try:
            if path == "/items" and method == "POST" and not query and is_row(body):
                return await self.write(body)
            if path == "/items" and method == "GET" and set(query) == {"name"} and body is None:
                return await self.read(query["name"])
        except NoMajority:
            return 504, {"code": "NO_MAJORITY"}
        return 422, {"code": "BAD_CALL"}

    async def write(self, row):
        answers = await self.quorum.call("POST", "/rows", row, {201})
        return 201, {"result": "WRITTEN", "replicas": len(answers)}

    async def read(self, name):
        newest = None

        def repair(replica, status, found):
            if newest and (status == 410 or found["stamp"] < newest["stamp"]):
                self.quorum.send(replica, "POST", "/rows", newest)

        answers = await self.quorum.call("GET", f"/rows?name={quote(name)}", None, {200, 410}, late=repair)
        found = [answer for _, status, answer in answers if status == 200]
        if not found:
            return 410, {"code": "UNKNOWN_NAME"}
        newest = max(found, key=lambda row: row["stamp"])
        for answer in answers:
            repair(*answer)
        return 200, newest


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--storage", required=True, help="the addresses of the storage nodes, with commas between them")
    arguments = parser.parse_args()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    gateway = Gateway(arguments.storage.split(","))
    server = await wire.serve(arguments.listen, arguments.http_port, gateway.answer)
    print(f"gateway 2 listens on {arguments.http_port}", flush=True)
    await stop.wait()
    await wire.finish([server])


if __name__ == "__main__":
    asyncio.run(main())
