"""The process that runs user code: one attempt after the other, in its main thread.

A second thread reads the line to the supervisor, so that a cancel or a recall is heard while an
attempt runs. Forked by the zygote; may be killed at any instant.
"""

import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from types import FrameType

import msgspec
from msgspec.structs import replace
from threadpoolctl import threadpool_limits

from penstock.core.attempt import (
    Answer,
    Batch,
    CancelRun,
    Done,
    Fault,
    FromChild,
    Line,
    MergeDone,
    MergeStep,
    Note,
    Ready,
    Recall,
    Recalled,
    Reply,
    Request,
    Run,
    SplitDone,
    ToChild,
)
from penstock.core.catalog import AnyTask, Catalog
from penstock.core.errors import FailureCode, PenstockError
from penstock.core.job import JobProgress
from penstock.core.progress import DoNotRetry, JobCancelled, Progress, SoftTimeout
from penstock.core.text import described, encodable
from penstock.core.units import readable_duration, readable_size
from penstock.executors import steps
from penstock.executors.answers import KeptAnswers
from penstock.executors.exchange import LineExchange, Replies
from penstock.executors.frames import Frames, encode, frame
from penstock.executors.speech import MAX_LINE, Lines, Logged
from penstock.executors.system import ignore_interrupts, name_process, prefer_as_victim

PROGRESS_INTERVAL_S = 0.1
MAX_DETAIL = 16_000
MAX_RESULT = 64 * 2**20

TINY_NS = 1_000_000
"""Answers to attempts shorter than this may wait, for as long, until they are sent with others."""

_decoder = msgspec.msgpack.Decoder(ToChild)


def main(line: socket.socket, kept: KeptAnswers, catalog: Catalog) -> None:
    """Serve until the supervisor closes the line."""
    name_process("penstock-slot")
    ignore_interrupts()
    prefer_as_victim()
    Runner(line, kept, catalog).serve()


class _CpuSpent(SoftTimeout):
    """To a task the same as any other end of its time; only the reason that is told differs."""


class Runner:
    """Runs attempts and answers for each exactly once, unless it dies."""

    def __init__(self, line: socket.socket, kept: KeptAnswers, catalog: Catalog) -> None:
        self._line = line
        self._kept = kept
        self._catalog = catalog
        self._main = threading.get_ident()
        self._pending: deque[Run] = deque()
        self._arrivals: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._sent_at = 0
        self._replies: Replies = queue.SimpleQueue()
        self._tiny: set[str] = set()
        self._current: Run | None = None
        self._cancelled: set[int] = set()
        self._noted_at = 0.0
        self._spoke = False
        self._interruptible = False
        self._reporting = False
        self._postponed: BaseException | None = None

    def serve(self) -> None:
        """The main thread's life."""
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.signal(signal.SIGPROF, self._on_cpu_spent)
        sys.stdout = Lines(self._say, "stdout")
        sys.stderr = Lines(self._say, "stderr")
        logging.basicConfig(level=logging.INFO, handlers=[Logged(self._say)], force=True)
        threading.Thread(target=self._listen, name="penstock-line", daemon=True).start()
        self._send(Ready(os.getpid()))
        while (run := self._next()) is not None:
            self._answer(run, self._attempt(run))

    def _next(self) -> Run | None:
        """The next attempt, None at the end of the line. Nothing is withheld while it is waited for."""
        while True:
            try:
                return self._pending.popleft()
            except IndexError:
                self._flush()
                if not self._arrivals.get():
                    return None

    def _listen(self) -> None:
        frames: Frames[ToChild] = Frames(_decoder)
        while data := self._hear():
            for message in frames.feed(data):
                match message:
                    case Batch(runs=runs):
                        self._pending.extend(runs)
                        self._arrivals.put(True)
                    case CancelRun(token=token):
                        self._cancelled.add(token)
                    case Reply():
                        self._replies.put(message)
                    case Recall():
                        self._give_back()
        # The supervisor closes its sending side to retire this slot. If it died instead, nobody
        # reads answers any more, and the first one sent will end the process.
        self._arrivals.put(False)
        self._replies.put(None)

    def _hear(self) -> bytes:
        try:
            return self._line.recv(1 << 16)
        except OSError:
            return b""

    def _give_back(self) -> None:
        """Empty the queue; whatever the main thread takes meanwhile is simply not in the answer."""
        tokens = []
        try:
            while True:
                tokens.append(self._pending.popleft().token)
        except IndexError:
            self._send(Recalled(tuple(tokens)))

    def _send(self, message: FromChild) -> None:
        self._write(frame([message]))

    def _write(self, data: bytes | memoryview) -> None:
        try:
            with self._sending:
                self._line.sendall(data)
        except OSError:
            os._exit(1)

    def _answer(self, run: Run, answer: Answer) -> None:
        """Send it, or keep it for a moment if a whole row of tiny attempts can be answered together."""
        # What an attempt said must arrive before its answer, so the answer takes the same way.
        if self._spoke or not self._kept.keep(encode(answer)):
            self._flush()
            self._send(answer)
            self._kept.passed(1)
        elif not self._may_wait(run):
            self._flush()

    def _may_wait(self, run: Run) -> bool:
        """Whether what was kept last may stay there while the next attempt runs.

        The supervisor looks for it for some time after it has heard something. So the clock is read
        after the answer was kept, and it must be soon after something was sent.
        """
        if run.task not in self._tiny or time.perf_counter_ns() - self._sent_at > TINY_NS:
            return False
        try:
            return self._pending[0].task in self._tiny
        except IndexError:
            return False

    def _flush(self) -> None:
        """Send what is kept; the supervisor finds it there until it is sent."""
        if kept := self._kept.framed():
            self._sent_at = time.perf_counter_ns()
            self._write(kept)
            self._kept.clear()

    def _attempt(self, run: Run) -> Answer:
        """One attempt from its parameters to its answer; whatever the task raises ends here."""
        self._current = run
        self._postponed = None
        self._spoke = False
        if not run.part:  # many short parts of a job are told of as seldom as one long attempt
            self._noted_at = 0.0
        began = time.perf_counter_ns()
        try:
            answer = self._run(run)
            if isinstance(answer, bytes):
                return Done(run.token, answer, self._elapsed_us(run, began))
            return replace(answer, elapsed_us=self._elapsed_us(run, began))
        except BaseException as raised:  # noqa: BLE001 - SystemExit and KeyboardInterrupt are the task's too
            return _fault(run, raised, self._elapsed_us(run, began))
        finally:
            if run.timeout_ms is not None:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if run.cpu_ms is not None:
                signal.setitimer(signal.ITIMER_PROF, 0)
            self._cancelled.discard(run.token)
            sys.stdout.flush()
            sys.stderr.flush()
            self._current = None

    def _run(self, run: Run) -> bytes | SplitDone | MergeDone:
        try:
            task = self._catalog.find(run.task)
        except PenstockError as unknown:
            raise _NotHereError(unknown.message) from None
        # Looking for the loaded BLAS libraries takes a millisecond, and one thread is what they have.
        if run.threads == 1:
            return self._interruptibly(run, task)
        with threadpool_limits(run.threads):
            return self._interruptibly(run, task)

    def _interruptibly(self, run: Run, task: AnyTask) -> bytes | SplitDone | MergeDone:
        """Only in here may a signal raise, and only one; an answer being made or sent is left alone."""
        try:
            self._interruptible = True
            if run.timeout_ms is not None:
                signal.setitimer(signal.ITIMER_REAL, run.timeout_ms / 1000)
            if run.cpu_ms is not None:
                signal.setitimer(signal.ITIMER_PROF, run.cpu_ms / 1000)
            if run.token in self._cancelled:
                raise JobCancelled
            if run.part or run.step is not None:
                return _bounded_answer(self._of_many(run, task))
            return _bounded(self._whole(run, task))
        finally:
            self._interruptible = False

    def _whole(self, run: Run, task: AnyTask) -> bytes:
        return task.run(run.params, self._progress(run) if task.reports else None)

    def _of_many(self, run: Run, task: AnyTask) -> bytes | SplitDone | MergeDone:
        """An attempt at a job that has parts, or is one."""
        if run.part:
            return task.run_part(run.params, self._progress(run))
        exchange = LineExchange(run.token, lambda request: self._request(run, request), self._replies)
        if isinstance(run.step, MergeStep):
            return steps.merge(task, run, run.step, exchange, self._note)
        return steps.split(task, run, exchange, lambda: self._whole(run, task))

    def _request(self, run: Run, request: Request) -> None:
        if run.token in self._cancelled:
            raise JobCancelled
        self._report(request)

    def _progress(self, run: Run) -> Progress:
        return Progress(
            self._note, lambda: run.token in self._cancelled, job_id=run.job_id, attempt=run.attempt
        )

    def _elapsed_us(self, run: Run, began: int) -> int:
        """How long the attempt took, and a note of whether attempts of its task are tiny."""
        elapsed = time.perf_counter_ns() - began
        if elapsed < TINY_NS:
            self._tiny.add(run.task)
        else:
            self._tiny.discard(run.task)
        return elapsed // 1000

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupt(SoftTimeout())

    def _on_cpu_spent(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupt(_CpuSpent())

    def _on_terminate(self, _number: int, _frame: FrameType | None) -> None:
        # A service manager may signal every process when it stops the worker; then work goes on, and
        # the supervisor decides when it ends.
        if self._current is not None and self._current.token in self._cancelled:
            self._interrupt(JobCancelled())

    def _interrupt(self, reason: BaseException) -> None:
        """Raise in the running task, but never between the halves of a message."""
        if self._reporting:
            self._postponed = reason
        elif self._interruptible:
            self._interruptible = False  # even if it falls on the way in or out of `_interruptibly`
            raise reason

    def _report(self, message: Note | Line | Request) -> None:
        self._spoke = True
        if threading.get_ident() != self._main:  # a thread of the task's own: no signal is handled there
            self._send(message)
            return
        self._reporting = True
        try:
            self._send(message)
        finally:
            self._reporting = False
        reason, self._postponed = self._postponed, None
        if reason is not None:
            self._interrupt(reason)

    def _note(self, progress: JobProgress) -> None:
        now = time.monotonic()
        run = self._current
        if run is None:
            return
        if now - self._noted_at >= PROGRESS_INTERVAL_S or (progress.fraction >= 1 and not run.part):
            self._noted_at = now
            self._report(Note(run.token, progress))

    def _say(self, stream: str, text: str) -> None:
        if self._current is not None:
            self._report(Line(self._current.token, stream, encodable(text[:MAX_LINE])))


def _bounded_answer(answer: bytes | SplitDone | MergeDone) -> bytes | SplitDone | MergeDone:
    if isinstance(answer, SplitDone):
        return answer
    _bounded(answer if isinstance(answer, bytes) else answer.partial)
    return answer


def _bounded(result: bytes) -> bytes:
    if len(result) > MAX_RESULT:
        found, limit = readable_size(len(result)), readable_size(MAX_RESULT)
        raise DoNotRetry(f"the result has {found}, the limit is {limit}; store it elsewhere and return where")
    return result


class _NotHereError(Exception):
    """This release of the tasks has none of that name; a task's own complaint of the kind is its error."""


def _fault(run: Run, raised: BaseException, elapsed_us: int) -> Fault:
    said = described(raised)
    code, message, permanent = FailureCode.TASK_ERROR, said, False
    match raised:
        case JobCancelled():
            code, message = FailureCode.CANCELLED, "cancelled on request"
        case _CpuSpent():
            spent = readable_duration(run.cpu_ms or 0)
            code, message = FailureCode.TIMED_OUT, f"used more than {spent} of CPU time"
        case SoftTimeout():
            code, message = FailureCode.TIMED_OUT, f"took longer than {(run.timeout_ms or 0) / 1000:g} s"
        case MemoryError():
            code = FailureCode.OUT_OF_MEMORY
        case DoNotRetry():
            message, permanent = said.removeprefix("DoNotRetry: "), True
        case _NotHereError():
            return Fault(run.token, FailureCode.TASK_UNKNOWN, str(raised), "", permanent, elapsed_us)
        case PenstockError():
            message = raised.message
    return Fault(run.token, code, message[:MAX_LINE], _traceback(raised), permanent, elapsed_us)


def _traceback(raised: BaseException) -> str:
    """The traceback from the task's own first line on, its end kept when it is too long."""
    frames = raised.__traceback__
    while frames and frames.tb_frame.f_globals.get("__name__", "").startswith(
        ("penstock.core", "penstock.executors")
    ):
        frames = frames.tb_next
    text = encodable("".join(traceback.format_exception(type(raised), raised, frames)))
    return text if len(text) <= MAX_DETAIL else "…" + text[-MAX_DETAIL:]
