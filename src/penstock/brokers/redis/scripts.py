"""The verbs as Lua scripts: what they have in common, parts that few calls need, then the verb's own file.

Each is nested in the one before. Making functions is much of a short call: for each variable that a function
uses Lua 5.1 looks through those of the block around it, but takes those from further out as they are.
"""

import hashlib
from functools import cache
from importlib.resources import files

import msgspec

PARTS = ("lines", "family", "after", "sharing", "forgetting")
"""Made only in a call that asks for them, see ``part`` in ``lua/common.lua``."""

COMPOSED = {"swap": ("swap", "submit")}
"""Verbs that go on as another one."""


class Script(msgspec.Struct, frozen=True):
    """A script with the name by which a server that has seen it knows it."""

    text: bytes
    sha: bytes


@cache
def script(verb: str) -> Script:
    """The script of a verb."""
    parts = [b"makers.%s = function()\n%s\nend" % (name.encode(), _file(name)) for name in PARTS]
    body = b"\n".join([_file(name) for name in COMPOSED.get(verb, (verb,))])
    for layer in (b"\n".join([_file("changes"), *parts]), _file("common")):
        body = b"%s\nreturn (function()\n%s\nend)()" % (layer, body)
    return Script(body, hashlib.sha1(body).hexdigest().encode())  # noqa: S324 - Redis names scripts so


def _file(name: str) -> bytes:
    return files(__package__).joinpath("lua", f"{name}.lua").read_bytes()
