"""Storage's state from version 2's table to version 3's two tables."""

import os
import sqlite3

TINTS = ("red", "green", "blue", "yellow")

database = sqlite3.connect(os.path.join(os.environ["UPSTART_NEW_STATE"], "store.db"), isolation_level=None)
found = database.execute("PRAGMA user_version").fetchone()[0]
if found != 2:
    raise SystemExit(f"store.db has schema {found}, not 2")
database.executescript(
    "BEGIN; CREATE TABLE tints (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE); "
    "CREATE TABLE objects (id TEXT PRIMARY KEY, number INTEGER NOT NULL, "
    "tint INTEGER NOT NULL REFERENCES tints (id), time INTEGER NOT NULL) WITHOUT ROWID; "
    + "".join(f"INSERT INTO tints VALUES ({number}, '{name}'); " for number, name in enumerate(TINTS))
    + "INSERT INTO objects SELECT rows.name, CAST(data AS INTEGER), tints.id, stamp FROM rows "
    "JOIN tints ON tints.name = lower(shade); DROP TABLE rows; PRAGMA user_version = 3; COMMIT;")
database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
database.close()
