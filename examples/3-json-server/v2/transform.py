"""json-server's file from 0.17.4 to 1.0.0-beta.3: ids and references, which may be numbers, become strings. `--reverse` goes back."""

import json
import os
import re
import sys

# What the lens knows. A file with more than this would be served by rules that were not made for it.
COLLECTIONS = {"posts", "comments", "tags"}
OBJECTS = {"profile"}
INTEGER = re.compile(r"0|-?[1-9][0-9]*")


def to_new(value):
    if isinstance(value, bool) or not isinstance(value, (int, str, type(None))):
        raise SystemExit(f"an id is {value!r}, neither an integer nor a string")
    if isinstance(value, str) and INTEGER.fullmatch(value):
        raise SystemExit(f"the id {value!r} is a string of an integer; the new version could not tell it from the integer")
    return str(value) if isinstance(value, int) else value


def to_old(value):
    if not isinstance(value, (str, type(None))):
        raise SystemExit(f"an id is {value!r}, not a string")
    return int(value) if value is not None and INTEGER.fullmatch(value) else value


def everywhere(value, convert):
    if isinstance(value, list):
        return [everywhere(item, convert) for item in value]
    if isinstance(value, dict):
        return {name: convert(inner) if name == "id" or name.endswith("Id") and name != "Id" else everywhere(inner, convert)
                for name, inner in value.items()}
    return value


def main():
    with open(os.path.join(os.environ["UPSTART_OLD_STATE"], "db.json"), encoding="utf-8") as file:
        data = json.load(file)
    unknown = data.keys() - COLLECTIONS - OBJECTS
    if unknown:
        raise SystemExit(f"the lens does not know {', '.join(sorted(unknown))}: add it to lens.toml and here")
    for name, value in data.items():
        if name in COLLECTIONS and len({str(item["id"]) for item in value if "id" in item}) != len(value):
            raise SystemExit(f"two items of {name} have the same id, or one has none")
    data = everywhere(data, to_old if "--reverse" in sys.argv else to_new)
    with open(os.path.join(os.environ["UPSTART_NEW_STATE"], "db.json"), "w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, indent=2)
    # In production the new version wants its folder of static files to be there.
    os.makedirs(os.path.join(os.environ["UPSTART_NEW_STATE"], "public"), exist_ok=True)


if __name__ == "__main__":
    main()
