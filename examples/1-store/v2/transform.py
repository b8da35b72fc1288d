"""Storage's state from version 1's JSON lines to version 2's SQLite table."""

import json
import os
import sqlite3

old = os.path.join(os.environ["UPSTART_OLD_STATE"], "records.jsonl")
new = os.environ["UPSTART_NEW_STATE"]

newest = {}
with open(old, "rb") as file:
    lines = file.read().split(b"\n")
if json.loads(lines[0]) != {"format": "store", "version": 1}:
    raise SystemExit(f"{old} is not of version 1")
for line in lines[1:-1]:  # what follows the last line feed was cut off by a kill and never acknowledged
    record = json.loads(line)
    newest[record["key"]] = record

database = sqlite3.connect(os.path.join(new, "store.db"), isolation_level=None)
database.execute("BEGIN")
database.execute("CREATE TABLE rows (name TEXT PRIMARY KEY, data TEXT NOT NULL, "
                 "shade TEXT NOT NULL, stamp INTEGER NOT NULL) WITHOUT ROWID")
database.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", (
    (key, str(record["value"]), record["colour"].upper(), record["clock"]) for key, record in newest.items()))
database.execute("PRAGMA user_version = 2")
database.execute("COMMIT")
database.close()
os.remove(os.path.join(new, "records.jsonl"))
