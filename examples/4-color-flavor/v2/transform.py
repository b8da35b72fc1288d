"""Colours become flavours: the numbers stay, the future adapter's state becomes their flavours, their colours the past adapter's state.

Unlike the adapter, which sees only what the old version shows, this sees its file, which says of each number when it was put in. So it knows
whether a remembered flavour belongs to the number that is there now.
"""

import json
import os

# What a number has at the other version when nothing else is known.
PLAIN, GREY = "plain", "grey"


def main():
    old_state, new_state = os.environ["UPSTART_OLD_STATE"], os.environ["UPSTART_NEW_STATE"]
    flavours = remembered(os.path.join(os.environ["UPSTART_ADAPTER_STATE_IN"], "entries.jsonl"))
    old = {"revision": 0, "numbers": {}}
    if os.path.exists(os.path.join(old_state, "numbers.json")):
        with open(os.path.join(old_state, "numbers.json"), encoding="utf-8") as file:
            old = json.load(file)

    items, colours = {}, []
    for number, entry in old["numbers"].items():
        word, revision = flavours.get(number, (PLAIN, 0))
        items[number] = {
            "flavour": word if revision >= entry["inserted"] else PLAIN,
            "inserted": entry["inserted"],
            "changed": entry["changed"],
        }
        if entry["colour"] != GREY:
            colours.append({"key": number, "value": f'{entry["colour"]} "{entry["changed"]}" 0'})

    with open(os.path.join(new_state, "items.json"), "w", encoding="utf-8") as file:
        json.dump({"revision": old["revision"], "items": items}, file)
    if os.path.exists(os.path.join(new_state, "numbers.json")):
        os.remove(os.path.join(new_state, "numbers.json"))
    with open(os.path.join(os.environ["UPSTART_ADAPTER_STATE_OUT"], "entries.jsonl"), "w", encoding="utf-8") as file:
        for line in sorted(colours, key=lambda line: line["key"]):
            file.write(json.dumps(line) + "\n")


def remembered(path):
    """What the future adapter remembers: of each number its flavour, and the revision at which that was certain."""
    flavours = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            for line in file:
                entry = json.loads(line)
                word, etag, _ = entry["value"].split(" ")
                flavours[entry["key"]] = (word, int(etag.strip('"')))
    return flavours


if __name__ == "__main__":
    main()
