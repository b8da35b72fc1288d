"""What schemathesis asks is made of the document alone: half of it about what is there, and nothing that only waits."""

import schemathesis

# What the test has made before.
THERE = {"node": "1", "version": 1, "revision": 1, "permit": 1, "principal": "operator:ann"}


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    for name, value in (path_parameters or {}).items():
        if name in THERE and len(str(value)) % 2:
            path_parameters[name] = THERE[name]
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    if query and isinstance(query.get("wait_ms"), int):
        query["wait_ms"] = min(query["wait_ms"], 5)
    return query
