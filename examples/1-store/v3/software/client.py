"""Client, version 3: the forms of the gateway's calls."""

import argparse
import asyncio
import sys

import load

VERSION = 3


def write(key, value, colour, clock):
    return "PUT", f"/store/{key}", {"content": {"number": value, "tints": [colour]}, "mark": {"time": clock}}


def read(key):
    return "GET", f"/store/{key}", None


async def main():
    await load.Load(sys.modules[__name__], load.options(argparse.ArgumentParser()).parse_args()).run()


if __name__ == "__main__":
    asyncio.run(main())
