"""Answers to tiny attempts, in memory that a child shares with its supervisor until it sends them together.

A message of its own for each, and a supervisor that wakes for it, cost more than a tiny attempt does.
What is kept here counts as answered nevertheless: the supervisor may read it at any time, while the
child is deep in C code and after its death too. So the first attempt without an answer is always the
one that runs, or of which the child died.
"""

import mmap
import os
import sys
import tempfile
import zlib

SIZE = 1 << 16
MAX_ANSWER = SIZE >> 4
"""A longer answer costs so much by itself that nothing is gained by keeping it."""

_STATE = 8
_LENGTH = 4
_START = _STATE + _LENGTH
_HEADER = b"\xdd"  # msgpack's mark of an array with four bytes of length
_BODY = _START + len(_HEADER) + 4
_SUM = (1 << 32) - 1
_MAX_LENGTH = (1 << 20) - 1
_MAX_COUNT = (1 << 12) - 1


def shared_memory() -> int:
    """A descriptor of fresh memory for one child. Close it once `KeptAnswers` has it."""
    if sys.platform == "linux":
        memory = os.memfd_create("penstock-answers")
    else:
        with tempfile.TemporaryFile(buffering=0) as file:
            memory = os.dup(file.fileno())
    os.ftruncate(memory, SIZE)
    return memory


class KeptAnswers:
    """Kept by the child in order, each a msgpack value; read by the supervisor as one msgpack array.

    The first eight bytes say how many there are, how long they are, and their check sum, which begins
    with the number of answers sent before. They are stored in one piece, so a reader finds each answer
    there or not; and by the sum it knows whether the child is changing what it reads, and whether that
    follows on what has arrived.
    """

    def __init__(self, descriptor: int) -> None:
        self._memory = memoryview(mmap.mmap(descriptor, SIZE))
        self._state = self._memory[:_STATE].cast("Q")
        self._sent = self._count = self._length = self._sum = 0

    def keep(self, answer: bytes) -> bool:
        """Add an answer; False if it is too long or nothing more fits."""
        start = _BODY + self._length
        end = start + len(answer)
        if len(answer) > MAX_ANSWER or end > SIZE or self._count == _MAX_COUNT:
            return False
        self._memory[start:end] = answer
        self._count += 1
        self._length += len(answer)
        self._sum = zlib.crc32(answer, self._sum)
        self._state[0] = self._count << 52 | self._length << 32 | self._sum
        return True

    def framed(self) -> memoryview:
        """All of them as one frame to send, which stands until `clear`; nothing if none is kept."""
        if not self._count:
            return self._memory[:0]
        size = _BODY - _START + self._length
        self._memory[_STATE:_START] = size.to_bytes(_LENGTH)
        self._memory[_START:_BODY] = _array(self._count)
        return self._memory[_STATE : _START + size]

    def clear(self) -> None:
        """They have been sent."""
        self._state[0] = 0
        self.passed(self._count)

    def passed(self, count: int) -> None:
        """So many answers have been sent in all since the last time."""
        self._sent += count
        self._count = self._length = 0
        self._sum = self._sent & _SUM

    def read(self, arrived: int) -> bytes:
        """A copy as a msgpack array; empty unless it is whole and follows on the answers that arrived."""
        state = self._state[0]
        length = state >> 32 & _MAX_LENGTH
        kept = bytes(self._memory[_BODY : _BODY + length])
        if not state or zlib.crc32(kept, arrived & _SUM) != state & _SUM:
            return b""
        return _array(state >> 52) + kept


def _array(count: int) -> bytes:
    return _HEADER + count.to_bytes(4)
