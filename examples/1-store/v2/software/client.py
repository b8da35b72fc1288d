"""Client, version 2: the forms of the gateway's calls."""

import argparse
import asyncio
import sys

import load

VERSION = 2


def write(key, value, colour, clock):
    return "POST", "/items", {"name": key, "data": str(value), "shade": colour.upper(), "stamp": clock}


def read(key):
    return "GET", f"/items?name={key}", None


async def main():
    await load.Load(sys.modules[__name__], load.options(argparse.ArgumentParser()).parse_args()).run()


if __name__ == "__main__":
    asyncio.run(main())
