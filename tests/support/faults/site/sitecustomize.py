"""Lets a test kill or stop a node at a named step of its work. Python imports it by itself from its path.

The product knows nothing of it: only nodes that a fault run starts have this folder on their PYTHONPATH and
PENSTOCK_FAULT_POINT in their environment. That names a file, the trap. When it holds ``after-claim kill``,
the node's broker is about to return from a claim that gave it jobs, and the trap is sprung: the file is
renamed, and the process sends itself SIGKILL (or with ``stop`` SIGSTOP). So an answer may be in the store and
unheard, or an outcome known and unsettled, every time and not once in a thousand kills at random.

A step may also name what the claim or the settlement is about: ``before-settle-merge kill``. A number behind
it lets the step pass so many times first.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
COUNTED = {"submit": 0, "settle": 0, "cancel": 0, "renew": 1, "spread": 3, "results": 2}
"""Where each verb has what it is about; a call about nothing springs no trap."""


class Trapped:
    """A broker whose every verb looks for the trap before it begins and before it answers."""

    def __init__(self, broker, trap):
        self._broker = broker
        self._trap = trap
        self._kinds = {}
        self._passed = 0

    def __getattr__(self, name):
        verb = getattr(self._broker, name)

        async def watched(*args, **kwargs):
            at = COUNTED.get(name)
            about = self._about(name, args)
            if at is not None and args[at]:
                self._spring(f"before-{name}", about)
            answer = await verb(*args, **kwargs)
            if answer and (at is None or args[at]):
                self._spring(f"after-{name}", about or self._note(name, answer))
            return answer

        setattr(self, name, watched)
        return watched

    def _note(self, name, answer):
        """What was claimed: a plain job, one to be split, a part, or parts to be merged."""
        if name != "claim":
            return set()
        kinds = {claim.token: kind_of(claim) for claim in answer}
        self._kinds |= kinds
        return set(kinds.values())

    def _about(self, name, args):
        return {self._kinds.get(each.token) for each in args[0]} if name == "settle" else set()

    def _spring(self, step, about):
        with contextlib.suppress(FileNotFoundError):
            wanted, action, *passes = self._trap.read_text().split()
            if wanted != step and wanted not in {f"{step}-{kind}" for kind in about}:
                return
            self._passed += 1
            if self._passed > sum(map(int, passes)):
                self._trap.rename(self._trap.with_suffix(".sprung"))
                os.kill(os.getpid(), SIGNALS[action])


def kind_of(claim):
    if claim.spec.part is not None:
        return "part"
    if not claim.spec.merge_block:
        return "job"
    return "merge" if claim.parts is not None and claim.parts.known else "split"


def install(trap):
    from penstock.app import broker as assembly  # noqa: PLC0415 - a node's own processes only

    make = assembly.make_broker
    assembly.make_broker = lambda *args: Trapped(make(*args), trap)


if (path := os.environ.get("PENSTOCK_FAULT_POINT")) and sys.orig_argv[1:3] == ["-m", "penstock"]:
    install(Path(path))
