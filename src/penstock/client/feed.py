"""What happens to one job, as it happens: Server-Sent Events, read sans I/O. The shells fetch the pieces."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.client.messages import Call, _path, unreachable
from penstock.core.errors import PenstockError
from penstock.core.job import FINAL_STATES
from penstock.core.submission import ProgressView

SNAPSHOT = "snapshot"
_ENDINGS = frozenset(state.value for state in FINAL_STATES)


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job. ``id`` is opaque: handed back as ``after`` it resumes behind it.

    ``kind`` is a state that the job entered, ``progress``, ``log``, ``joined``, or ``snapshot``: the job as
    it stood when the stream began, which is then the ``data``. ``at`` is ISO 8601 in UTC.
    """

    id: str
    kind: str
    job_id: str
    at: str
    data: Mapping[str, Any]

    @property
    def progress(self) -> ProgressView | None:
        """How far the job had come, None if the event does not tell."""
        told = self.data.get("progress") if self.kind == SNAPSHOT else self.data
        if self.kind not in {SNAPSHOT, "progress"} or not told:
            return None
        return ProgressView(fraction=told["fraction"], message=told.get("message") or "")

    @property
    def final(self) -> bool:
        """Whether the job has ended with it."""
        return (self.data["state"] if self.kind == SNAPSHOT else self.kind) in _ENDINGS


class Reading:
    """One job's stream, over as many responses as it takes."""

    def __init__(self, job_id: str, after: str | None) -> None:
        self.path = _path("jobs", job_id, "events")
        self.over = False
        self._after = after
        self._rest = b""
        self._fields: dict[str, str] = {}

    @property
    def query(self) -> Mapping[str, str]:
        """What the next response is to be asked for."""
        return {} if self._after is None else {"after": self._after}

    def begin(self) -> None:
        """A new response: what the last one left unfinished comes again."""
        self._rest, self._fields = b"", {}

    def take(self, piece: bytes) -> Iterator[JobEvent]:
        """The events that are whole with this piece."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            event = self._line(line.rstrip(b"\r").decode())
            if event is not None:
                self._after, self.over = event.id, event.final
                yield event

    def _line(self, line: str) -> JobEvent | None:
        if line:
            name, _, value = line.partition(":")
            self._fields[name] = value.removeprefix(" ")  # a comment has no name, and is never looked at
            return None
        fields, self._fields = self._fields, {}
        return _event(fields) if "data" in fields else None

    def broken_off(self, url: str, failed: PenstockError | None) -> PenstockError:
        """Why there is no more of this response though the job has not ended."""
        return failed or unreachable(url, ConnectionError("the stream of events broke off"))

    @property
    def call(self) -> Call[dict[str, Any]]:
        """The request, for `Patience` to judge."""
        return Call("GET", self.path, dict, self.query)


def _event(fields: Mapping[str, str]) -> JobEvent:
    data = msgspec.json.decode(fields["data"])
    kind = fields.get("event", "message")
    if kind == SNAPSHOT:
        return JobEvent(fields["id"], kind, data["id"], data["created_at"], data)
    return JobEvent(fields["id"], kind, data["job_id"], data["at"], data["data"])
