"""Turns a box's state of one dialect into that of the next: `transform.py FROM TO`."""

import json
import os
import sys
import time

FILES = {"1": "boxes.json", "2": "items.tsv", "3": "things.json"}
old, new = os.environ["UPSTART_OLD_STATE"], os.environ["UPSTART_NEW_STATE"]
origin, target = sys.argv[1:3]
for argument in sys.argv[3:]:
    key, _, value = argument.partition("=")
    if key == "fail":
        sys.exit(value)
    if key == "sleep_ms":
        time.sleep(int(value) / 1000)
    if key == "fill":
        with open(os.path.join(new, "filling"), "wb") as file:
            for _ in range(int(value)):
                file.write(os.urandom(1 << 20))
    if key == "environment":
        with open(os.path.join(new, "environment"), "w") as file:
            file.write("\n".join(sorted(os.environ)))
    if key == "print":
        sys.stdout.buffer.write(bytes([int(value)]) * (1 << 20))
boxes = {}
if os.path.exists(os.path.join(old, FILES[origin])):
    with open(os.path.join(old, FILES[origin])) as file:
        if origin == "1":
            boxes = json.load(file)
        elif origin == "2":
            rows = [line.rstrip("\n").split("\t") for line in file]
            boxes = {name: int(number) for number, name in rows}
    # The new state began as a copy.
    os.unlink(os.path.join(new, FILES[origin]))
with open(os.path.join(new, FILES[target]), "w") as file:
    if target == "2":
        file.writelines(f"{number}\t{name}\n" for name, number in boxes.items())
    else:
        json.dump([{"id": name, "total": number} for name, number in boxes.items()], file)
