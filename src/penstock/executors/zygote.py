"""The process that children are forked from. It imports the tasks once and never runs one.

Started by `executors.process` as ``python -m penstock.executors.zygote FD MODULE…``; FD is a socket
on which it is asked for children, and tells which were forked and how they ended. It has one thread,
so forking it is safe. When the socket closes, it kills every child's process group and ends.
"""

import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import traceback

import msgspec

from penstock.core.catalog import Catalog, load
from penstock.core.errors import PenstockError
from penstock.executors import child
from penstock.executors.answers import KeptAnswers
from penstock.executors.frames import frame
from penstock.executors.system import die_with_parent, ignore_interrupts, name_process


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The tasks are imported."""

    tasks: tuple[str, ...]


class NotLoaded(msgspec.Struct, frozen=True, tag=True):
    """A module could not be imported; the zygote ends."""

    message: str
    detail: str


class Forked(msgspec.Struct, frozen=True, tag=True):
    """The answer to a request, in order of the requests."""

    pid: int


class NotForked(msgspec.Struct, frozen=True, tag=True):
    """The other answer to a request: the system had no room for another process."""

    message: str


class Ended(msgspec.Struct, frozen=True, tag=True):
    """A child ended: exit code, or minus the signal; peak resident memory in bytes."""

    pid: int
    status: int
    max_rss: int


FromZygote = Loaded | NotLoaded | Forked | NotForked | Ended


def main() -> None:
    """Load, report, then fork on request until the socket closes."""
    name_process("penstock-zygote")
    ignore_interrupts()
    # A service manager may signal every process when it stops the worker, which has yet to drain.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    office = socket.socket(fileno=int(sys.argv[1]))
    try:
        catalog = load(sys.argv[2:])
    except PenstockError as failed:
        office.sendall(frame(NotLoaded(failed.message, traceback.format_exc())))
        return
    gc.collect()
    gc.freeze()  # children then share these pages instead of copying them when they collect
    Zygote(office, catalog).serve()


class Zygote:
    """Forks and reaps."""

    def __init__(self, office: socket.socket, catalog: Catalog) -> None:
        self._office = office
        self._catalog = catalog
        self._children: set[int] = set()

    def serve(self) -> None:
        """Until the supervisor is gone."""
        try:
            self._office.sendall(frame(Loaded(tuple(self._catalog))))
            self._serve()
        except ConnectionError:
            pass  # it went in the middle of an exchange
        finally:
            self._kill_all()

    def _serve(self) -> None:
        woken, waker = os.pipe()
        os.set_blocking(waker, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._office, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fd == woken:
                        os.read(woken, 4096)
                        self._reap()
                    elif not self._fork():
                        return

    def _fork(self) -> bool:
        request, descriptors, _, _ = socket.recv_fds(self._office, 1, 2)
        if not request:
            return False
        answer = self._forked(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._office.sendall(frame(answer))
        return True

    def _forked(self, line: int, memory: int) -> Forked | NotForked:
        try:
            pid = os.fork()
        except OSError as failed:
            return NotForked(f"cannot start a process: {failed.strerror}")
        if pid == 0:
            self._become_child(line, memory)
        self._children.add(pid)
        return Forked(pid)

    def _become_child(self, line: int, memory: int) -> None:
        status = 1
        try:
            os.setpgid(0, 0)  # so that what a task starts can be killed with it
            die_with_parent()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._office.close()
            kept = KeptAnswers(memory)
            os.close(memory)
            child.main(socket.socket(fileno=line), kept, self._catalog)
            status = 0
        except BaseException:  # noqa: BLE001 - nothing may unwind into the zygote's loop
            traceback.print_exc(
                file=sys.__stderr__
            )  # the child has put lines to its supervisor in place of stderr
        finally:
            os._exit(status)

    def _reap(self) -> None:
        while self._children:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid in self._children:
                self._children.discard(pid)
                _kill_group(pid)  # what the task started and left behind
                rss = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
                self._office.sendall(frame(Ended(pid, os.waitstatus_to_exitcode(status), rss)))

    def _kill_all(self) -> None:
        for pid in self._children:
            _kill_group(pid)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
