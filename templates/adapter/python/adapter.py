"""The adapter: in version 1 an item has a `colour`, in version 2 a `tint`, and the paths begin with the version.

`rename.py` has what changes; here is only what an adapter must have.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import next as software
from wit_world.imports.messages import Call_Http, Failure_Refused, Refusal, Reply_Http
from wit_world.imports.types import Direction

import rename

# The caller's version and the software's, by which adapter this is.
VERSIONS = {Direction.PAST: (1, 2), Direction.FUTURE: (2, 1)}


class Calls(exports.Calls):
    # Nothing is kept between calls: there is no state to begin with, to recover or to follow.
    def init(self, start):
        pass

    def handle(self, call, caller):
        if not isinstance(call, Call_Http):
            raise refused("only HTTP is spoken here")
        ours, theirs = VERSIONS[caller.direction]
        request = call.value
        try:
            request.target = rename.target(request.target, ours, theirs)
            request.body = renamed(request.body, ours, theirs)
        except rename.Refused as error:
            raise refused(str(error)) from error
        reply = software.delegate(Call_Http(request)).value
        # An answer that is no JSON object, such as an error's text, stays as it is.
        if any(h.name == "content-type" and h.value.startswith("application/json") for h in reply.headers):
            reply.body = renamed(reply.body, theirs, ours)
        return Reply_Http(reply)

    def on_recover(self, call):
        pass

    def observe(self, seen):
        return []


def renamed(body, old, new):
    """A body with its members' names of another version."""
    return rename.body(body, old, new) if body else body


def refused(reason):
    return Err(Failure_Refused(Refusal(reason, None)))
