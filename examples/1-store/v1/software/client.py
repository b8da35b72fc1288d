"""Client, version 1: the forms of the gateway's calls."""

import argparse
import asyncio
import sys

import load

VERSION = 1


def write(key, value, colour, clock):
    return "PUT", f"/keys/{key}", {"value": value, "colour": colour, "clock": clock}


def read(key):
    return "GET", f"/keys/{key}", None


async def main():
    await load.Load(sys.modules[__name__], load.options(argparse.ArgumentParser()).parse_args()).run()


if __name__ == "__main__":
    asyncio.run(main())
