"""Turns version 1's counts.json into version 2's counts.tsv."""

import json
import os

old = os.path.join(os.environ["UPSTART_OLD_STATE"], "counts.json")
new = os.environ["UPSTART_NEW_STATE"]
counts = json.load(open(old)) if os.path.exists(old) else {}
with open(os.path.join(new, "counts.tsv"), "w") as file:
    for name, times in sorted(counts.items()):
        file.write(f"{times}\t{name}\n")
# The new state began as a copy of the old one.
if os.path.exists(os.path.join(new, "counts.json")):
    os.unlink(os.path.join(new, "counts.json"))
