"""A program that appends messages in child processes which die where the test says.

One JSON request a line on stdin, ``{"path", "job", "message", "die"}``, one answer a line on stdout.
``die`` is null, ``["line", n]`` for SIGKILL before the n-th line of the pipeline's code that would run,
or ``["bytes", n]`` for SIGKILL when n bytes of the job's line are in the file. The answer is the line
and whether it is new, or null if the child died.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from penstock.tasks.messages import journal, output

CODE = {journal.__file__, output.__file__}
WRITE = os.write


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_line(number: int) -> None:
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        nonlocal seen
        if frame.f_code.co_filename not in CODE:
            return None
        if event in {"line", "return"}:
            seen += 1
            if seen >= number:
                kill_myself()
        return trace

    sys.settrace(trace)


def die_at_byte(number: int) -> None:
    def torn(file: int, data: bytes) -> int:
        WRITE(file, bytes(data)[:number])
        kill_myself()
        raise AssertionError

    os.write = torn


DEATHS = {"line": die_at_line, "bytes": die_at_byte}


def in_child(path: str, job: str, message: str, die: list[Any] | None) -> Any:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        if die:
            DEATHS[die[0]](die[1])
        entry = output.Output(Path(path)).append(job, message)
        sys.settrace(None)
        WRITE(writing, json.dumps([entry.text, entry.new]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert said or os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    return json.loads(said) if said else None


if __name__ == "__main__":
    for asked in sys.stdin:
        sys.stdout.write(f"{json.dumps(in_child(**json.loads(asked)))}\n")
        sys.stdout.flush()
