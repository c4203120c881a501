"""The `Executor` contract with killable processes: a zygote, and the children it forks."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import msgspec
import psutil

from penstock.core.attempt import Answer, Batch, CancelRun, FromChild, Recall, Reply, Run, ToChild
from penstock.core.errors import ErrorCode, PenstockError
from penstock.executors.answers import KeptAnswers, shared_memory
from penstock.executors.frames import Frames, frame
from penstock.executors.system import SINGLE_THREADED, supervisor_mark
from penstock.executors.zygote import Ended, Forked, FromZygote, Loaded, NotForked, NotLoaded
from penstock.worker_ports import Exit

LAST_WORDS_S = 0.2
"""How long to wait for the line of a dead child to close: a process it left behind may hold it open."""

LOOK_S = 0.005
"""How long after a message a child's kept answers are looked at, and so how late one may be heard."""

_decoder = msgspec.msgpack.Decoder(list[FromChild])

OnMessage = Callable[[FromChild], None]
OnExit = Callable[[Exit], None]


class ProcessExecutor:
    """Forks children that have ``modules`` imported, one BLAS thread each.

    ``house`` names in the processes' environment what they belong to, for whoever looks for leftovers.
    """

    def __init__(self, modules: Sequence[str], house: str = "") -> None:
        self._modules = tuple(modules)
        self._house = house
        self._zygote: subprocess.Popen[bytes] | None = None
        self._office: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._frames: Frames[FromZygote] = Frames(msgspec.msgpack.Decoder(FromZygote))
        self._loaded: asyncio.Future[tuple[str, ...]] | None = None
        self._asked: deque[asyncio.Future[int]] = deque()
        self._children: dict[int, ProcessChild] = {}
        self._ended_early: dict[int, Exit] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the zygote and wait until it has the tasks; a dead one is replaced by calling again."""
        if self._zygote is not None:
            self._zygote.kill()  # its line is closed, so it is ending already
            await asyncio.to_thread(self._zygote.wait)
        ours, theirs = socket.socketpair()
        with theirs:
            self._zygote = subprocess.Popen(  # noqa: ASYNC220, S603 - a few milliseconds, once
                [sys.executable, "-m", "penstock.executors.zygote", str(theirs.fileno()), *self._modules],
                pass_fds=[theirs.fileno()],
                env=SINGLE_THREADED | os.environ | supervisor_mark(self._house),
                stdin=subprocess.DEVNULL,
            )
        ours.setblocking(False)
        self._office = ours
        self._frames = Frames(msgspec.msgpack.Decoder(FromZygote))
        loop = asyncio.get_running_loop()
        self._loaded = loop.create_future()
        loop.add_reader(ours, self._hear)
        await self._loaded

    async def spawn(self, on_message: OnMessage, on_exit: OnExit) -> "ProcessChild":
        """Fork a child; raises INTERNAL_ERROR if that cannot be done now."""
        try:
            return await self._spawn(on_message, on_exit)
        except OSError as failed:
            message = f"cannot start a child: {failed.strerror}"
            raise PenstockError(ErrorCode.INTERNAL_ERROR, message) from failed

    async def _spawn(self, on_message: OnMessage, on_exit: OnExit) -> "ProcessChild":
        async with self._starting:
            if self._office is None:
                await self.start()
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        try:
            with theirs:
                forked, kept = self._ask_for_child(theirs)
            pid = await forked
        except BaseException:
            ours.close()
            raise
        child = ProcessChild(pid, kept, on_message, on_exit)
        self._children[pid] = child
        await loop.create_connection(lambda: child, sock=ours)
        if pid in self._ended_early:
            self._end(pid, self._ended_early.pop(pid))
        return child

    def _ask_for_child(self, line: socket.socket) -> tuple[asyncio.Future[int], KeptAnswers]:
        memory = shared_memory()
        try:
            kept = KeptAnswers(memory)
            self._ask(line.fileno(), memory)
        finally:
            os.close(memory)
        forked = asyncio.get_running_loop().create_future()
        self._asked.append(forked)
        return forked, kept

    def _ask(self, *descriptors: int) -> None:
        if self._office is None:
            raise _gone()
        try:
            socket.send_fds(self._office, [b"f"], descriptors)
        except OSError as failed:
            raise _gone() from failed

    async def stop(self) -> None:
        """Kill what is left, hear its last words, end the zygote, and reap it."""
        self._lose_zygote()
        await asyncio.gather(*self._ending)
        if self._zygote is not None:
            self._zygote.kill()  # its children were killed already; it may still be importing
            await asyncio.to_thread(self._zygote.wait)

    def _hear(self) -> None:
        try:
            data = self._office.recv(1 << 16) if self._office else b""
        except BlockingIOError:
            return
        except OSError:
            data = b""
        for message in self._frames.feed(data):
            self._understand(message)
        if not data:
            self._lose_zygote()

    def _understand(self, message: FromZygote) -> None:
        match message:
            case Loaded(tasks=tasks):
                self._resolve_loaded(tasks)
            case NotLoaded(message=text, detail=detail):
                if self._loaded and not self._loaded.done():
                    failed = PenstockError(ErrorCode.INVALID_REQUEST, text, {"detail": detail})
                    self._loaded.set_exception(failed)
            case Forked(pid=pid):
                asked = self._asked.popleft()
                if not asked.done():
                    asked.set_result(pid)
            case NotForked(message=text):
                asked = self._asked.popleft()
                if not asked.done():
                    asked.set_exception(PenstockError(ErrorCode.INTERNAL_ERROR, text))
            case Ended(pid=pid, status=status, max_rss=max_rss):
                self._end(pid, Exit(status=status, max_rss=max_rss))

    def _resolve_loaded(self, tasks: tuple[str, ...]) -> None:
        if self._loaded and not self._loaded.done():
            self._loaded.set_result(tasks)

    def _end(self, pid: int, ended: Exit) -> None:
        child = self._children.pop(pid, None)
        if child is None:
            self._ended_early[pid] = ended
        else:
            ending = child.ended(ended)
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    def _lose_zygote(self) -> None:
        """Without it nobody reports how children end; they die with it."""
        if self._office is None:
            return
        asyncio.get_running_loop().remove_reader(self._office)
        self._office.close()
        self._office = None
        self._ended_early.clear()
        while self._asked:
            asked = self._asked.popleft()
            if not asked.done():
                asked.set_exception(_gone())
        if self._loaded and not self._loaded.done():
            self._loaded.set_exception(_gone())
        for pid, child in list(self._children.items()):
            child.kill()
            self._end(pid, Exit(status=None))


class ProcessChild(asyncio.Protocol):
    """One child as its supervisor sees it."""

    def __init__(self, pid: int, kept: KeptAnswers, on_message: OnMessage, on_exit: OnExit) -> None:
        self.pid = pid
        self._kept = kept
        self._on_message = on_message
        self._on_exit = on_exit
        self._frames: Frames[list[FromChild]] = Frames(_decoder)
        self._arrived = self._found = 0
        self._heard = False
        self._looking: asyncio.TimerHandle | None = None
        self._line: asyncio.Transport | None = None
        self._closed = asyncio.Event()
        self._alive = True
        self._process: psutil.Process | None = None
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process = psutil.Process(pid)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of `asyncio.Protocol`."""
        self._line = cast("asyncio.Transport", transport)  # what a socket gets, from any event loop

    def data_received(self, data: bytes) -> None:
        """Part of `asyncio.Protocol`."""
        for messages in self._frames.feed(data):
            # Answers come in frames of their own.
            self._tell(self._arrive(messages) if isinstance(messages[0], Answer) else messages)
        self._heard = True
        if self._looking is None:
            self._look_later()

    def _arrive(self, answers: list[FromChild]) -> list[FromChild]:
        """Those of the answers that `look` did not find before they came."""
        known = min(self._found, len(answers))
        self._found -= known
        self._arrived += len(answers)
        return answers[known:] if known else answers

    def _tell(self, messages: list[FromChild]) -> None:
        for message in messages:
            self._on_message(message)

    def look(self) -> None:
        """See `Child.look`."""
        if kept := self._kept.read(self._arrived):
            answers = _decoder.decode(kept)[self._found :]
            self._found += len(answers)
            self._tell(answers)

    def _look_later(self) -> None:
        self._heard = False
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look_again)

    def _look_again(self) -> None:
        """A child keeps answers only for a moment after it sent something, so look until it is silent."""
        self._looking = None
        self.look()
        if self._heard:
            self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Part of `asyncio.Protocol`. A child without a line is of no use, should it still live."""
        self._closed.set()
        self.kill()

    def ended(self, how: Exit) -> asyncio.Task[None]:
        """The process is gone; report it after everything that it still said. The task is to be kept."""
        self._alive = False
        return asyncio.get_running_loop().create_task(self._report(how))

    async def _report(self, how: Exit) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), LAST_WORDS_S)
        if self._line is not None:
            self._line.abort()
        if self._looking is not None:
            self._looking.cancel()
        self.look()
        self._on_exit(how)

    def send(self, runs: Sequence[Run]) -> None:
        """See `Child.send`."""
        self._write(Batch(tuple(runs)))

    def cancel(self, token: int) -> None:
        """See `Child.cancel`."""
        self._write(CancelRun(token))

    def reply(self, reply: Reply) -> None:
        """See `Child.reply`."""
        self._write(reply)

    def recall(self) -> None:
        """See `Child.recall`."""
        self._write(Recall())

    def terminate(self) -> None:
        """See `Child.terminate`."""
        # Once reaped, the number may belong to another process.
        if self._alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """See `Child.kill`: the whole process group, so that what the task started goes with it."""
        if self._alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """See `Child.close`."""
        if self._line is not None and self._line.can_write_eof() and not self._line.is_closing():
            self._line.write_eof()

    def rss(self) -> int:
        """See `Child.rss`."""
        try:
            return self._process.memory_info().rss if self._process else 0
        except psutil.Error:
            return 0

    def cpu_ms(self) -> float:
        """See `Child.cpu_ms`."""
        try:
            times = self._process.cpu_times() if self._process else ()
        except psutil.Error:
            return 0.0
        return 1000 * sum(times[:4])  # what comes after them is waiting

    def _write(self, message: ToChild) -> None:
        if self._line is not None and not self._line.is_closing():
            self._line.write(frame(message))


def _gone() -> PenstockError:
    return PenstockError(ErrorCode.INTERNAL_ERROR, "the process that children are forked from has died")
