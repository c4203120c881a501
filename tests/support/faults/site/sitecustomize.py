"""Lets a test kill or stop a node at a named step of its work. Python imports it by itself from its path.

The product knows nothing of it: only nodes that a fault run starts have this folder on their PYTHONPATH and
PENSTOCK_FAULT_POINT in their environment. That names a file, the trap. When it holds ``after-claim kill``,
the node's broker is about to return from a claim that gave it jobs, and the trap is sprung: the file is
renamed, and the process sends itself SIGKILL (or with ``stop`` SIGSTOP). So an answer may be in the store and
unheard, or an outcome known and unsettled, every time and not once in a thousand kills at random.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
COUNTED = {"submit": 0, "settle": 0, "cancel": 0, "renew": 1}
"""Where each verb has what it is about; a call about nothing springs no trap."""


class Trapped:
    """A broker whose every verb looks for the trap before it begins and before it answers."""

    def __init__(self, broker, trap):
        self._broker = broker
        self._trap = trap

    def __getattr__(self, name):
        verb = getattr(self._broker, name)

        async def watched(*args, **kwargs):
            at = COUNTED.get(name)
            if at is not None and args[at]:
                self._spring(f"before-{name}")
            answer = await verb(*args, **kwargs)
            if answer and (at is None or args[at]):
                self._spring(f"after-{name}")
            return answer

        setattr(self, name, watched)
        return watched

    def _spring(self, step):
        with contextlib.suppress(FileNotFoundError):
            wanted, _, action = self._trap.read_text().partition(" ")
            if wanted == step:
                self._trap.rename(self._trap.with_suffix(".sprung"))
                os.kill(os.getpid(), SIGNALS[action])


def install(trap):
    from penstock.app import broker as assembly  # noqa: PLC0415 - a node's own processes only

    make = assembly.make_broker
    assembly.make_broker = lambda *args: Trapped(make(*args), trap)


if (path := os.environ.get("PENSTOCK_FAULT_POINT")) and sys.orig_argv[1:3] == ["-m", "penstock"]:
    install(Path(path))
