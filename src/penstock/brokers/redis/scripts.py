"""The verbs as Lua scripts: what they have in common, how lines take turns, then the verb's own file."""

import hashlib
from functools import cache
from importlib.resources import files

import msgspec

EFFECTS = ("family", "after")
"""What the end of a job may bring about, see ``effects`` in ``lua/common.lua``; parts may end their job."""

COMPOSED = {"swap": ("swap", "submit")}
"""Verbs that go on as another one."""


class Script(msgspec.Struct, frozen=True):
    """A script with the name by which a server that has seen it knows it."""

    text: bytes
    sha: bytes


@cache
def script(verb: str) -> Script:
    """The script of a verb."""
    folder = files(__package__).joinpath("lua")
    names = ("common", "lines", *EFFECTS, *COMPOSED.get(verb, (verb,)))
    text = b"\n".join(folder.joinpath(f"{name}.lua").read_bytes() for name in names)
    return Script(text, hashlib.sha1(text).hexdigest().encode())  # noqa: S324 - Redis names scripts so
