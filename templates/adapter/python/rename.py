"""What changes between the versions, as functions of their own, so that `python3 -m unittest` can try them."""

import json

# What an item's colour is called in each version.
COLOUR = {1: "colour", 2: "tint"}


class Refused(Exception):
    """What cannot be shown to the other version."""


def target(text, old, new):
    """`/v1/items/7` becomes `/v2/items/7`."""
    if not text.startswith(f"/v{old}/"):
        raise Refused(f"no path of version {old}: {text}")
    return f"/v{new}/" + text.removeprefix(f"/v{old}/")


def body(content, old, new):
    """`{"colour": "red"}` becomes `{"tint": "red"}`; the other members stay as they are, in their order."""
    try:
        item = json.loads(content)
    except ValueError as error:
        raise Refused("the body is not JSON") from error
    if not isinstance(item, dict):
        raise Refused("the body is no JSON object")
    if COLOUR[new] in item:
        raise Refused(f"version {old} has no `{COLOUR[new]}`")
    renamed = {COLOUR[new] if name == COLOUR[old] else name: value for name, value in item.items()}
    return json.dumps(renamed, ensure_ascii=False, separators=(",", ":")).encode()
