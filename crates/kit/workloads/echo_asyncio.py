"""An asyncio server and its clients: `serve HOST PORT`, or `call HOST PORT` for 200 connections, 40 at once."""
import asyncio
import sys


async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def call(host, port, number, gate):
    async with gate:
        reader, writer = await asyncio.open_connection(host, port)
        good = True
        for turn in range(5):
            line = f"{number} {turn}\n".encode()
            writer.write(line)
            await writer.drain()
            good = good and await reader.readline() == line
        writer.close()
        await writer.wait_closed()
        return good


async def main():
    host, port = sys.argv[2], int(sys.argv[3])
    if sys.argv[1] == "serve":
        server = await asyncio.start_server(echo, host, port)
        await server.serve_forever()
    gate = asyncio.Semaphore(40)
    results = await asyncio.gather(*(call(host, port, number, gate) for number in range(200)))
    print(f"right {sum(results)} of {len(results)}")


asyncio.run(main())
