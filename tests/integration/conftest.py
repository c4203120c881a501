"""Parts working together in this process: a worker on a broker, the API on a broker.

``house`` is a node's API with its broker, and hands that work off jobs one by one, so that a test
decides what happens when. ``open_house`` opens one with other tasks or settings.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import pytest

from penstock.app.api import make_api
from penstock.brokers.sqlite import connect
from penstock.core.catalog import AnyTask, Catalog, load
from penstock.core.clock import system_clock
from penstock.core.job import JobProgress, WorkerInfo
from penstock.core.lifecycle import Claim, Outcome, Succeeded
from penstock.core.verdict import settlement
from penstock.ports import Broker, BrokerOptions, Held
from penstock.settings import Settings
from support.logs import logs_as_they_were

HAZARDOUS = Path(__file__).parents[1] / "support" / "hazardous.py"
SERVED = ("noop", "nap", "credit_loss", "lifetime_ecl")  # each costs time, as it has a route of its own
PATIENCE_S = 60.0
URL = "http://house"

Message = dict[str, Any]


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """A command that ran in this process logs to a standard error that is closed after it."""
    with logs_as_they_were():
        yield


class Hands:
    """A worker without processes: takes jobs and ends them as the test says."""

    def __init__(self, broker: Broker, worker: str = "hands/1") -> None:
        self.broker = broker
        self.info = WorkerInfo(id=worker, node=worker.partition("/")[0], host="here", pid=1, slots=4)

    async def take(self, count: int = 1, queue: str = "default") -> list[Claim]:
        """Claim exactly so many jobs."""
        claims: list[Claim] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(claims) < count:
                claims += await self.broker.claim(self.info.id, [queue], count - len(claims), PATIENCE_S)
        return claims

    async def end(self, claim: Claim, outcome: Outcome | None = None) -> None:
        """Settle one attempt, with the result 42 unless told otherwise."""
        ending = outcome or Succeeded(msgspec.Raw(b"42"))
        assert await self.broker.settle([settlement(claim, ending, 0.0)]) == [True]

    async def work(self, count: int = 1, outcome: Outcome | None = None) -> None:
        """Take so many jobs and end them one after the other."""
        for claim in await self.take(count):
            await self.end(claim, outcome)

    async def say(self, claim: Claim, fraction: float, message: str, *lines: str) -> None:
        """Report from a running attempt."""
        progress = JobProgress(fraction, message)
        held = Held(job_id=claim.spec.id, token=claim.token, progress=progress, lines=lines)
        await self.broker.renew(self.info, [held])

    async def live(self) -> None:
        """Hold a lease without work."""
        await self.broker.renew(self.info, [])


class Stream:
    """One HTTP response read while it is being sent, which httpx's ASGI transport cannot do."""

    def __init__(self, app: Any, path: str, headers: dict[str, str] | None = None) -> None:
        self._app = app
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path.partition("?")[0],
            "raw_path": path.partition("?")[0].encode(),
            "query_string": path.partition("?")[2].encode(),
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
            "client": ("test", 1),
            "server": ("test", 80),
        }
        self._asked = False
        self._leaving = asyncio.Event()
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._text = ""

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(self._app(self._scope, self._receive, self._sent.put))
        async with asyncio.timeout(PATIENCE_S):
            self.status = (await self._sent.get())["status"]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leaving.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(self._serving)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._leaving.wait()
        return {"type": "http.disconnect"}

    async def next(self) -> Message | None:
        """The next event as ``{"event", "id", "data"}``, None at the end of the response."""
        async with asyncio.timeout(PATIENCE_S):
            while "\r\n\r\n" not in self._text:
                message = await self._sent.get()
                self._text += message["body"].decode()
                if not message.get("more_body"):
                    return None
        event, self._text = self._text.split("\r\n\r\n", 1)
        fields = dict(line.split(": ", 1) for line in event.split("\r\n"))
        return fields | {"data": json.loads(fields["data"])}

    async def take(self, count: int) -> list[Message]:
        """The next so many events."""
        found = [await self.next() for _ in range(count)]
        return [event for event in found if event is not None]

    async def rest(self) -> list[Message]:
        """Every event until the end."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


class House:
    """One node's API: ``http`` asks it, ``hands`` do the work, ``url`` is where its broker is."""

    def __init__(self, url: str, app: Any, http: httpx.AsyncClient, broker: Broker) -> None:
        self.url = url
        self.app = app
        self.http = http
        self.broker = broker
        self.hands = Hands(broker)

    @property
    def transport(self) -> httpx.ASGITransport:
        """A way to the application without a network."""
        return httpx.ASGITransport(self.app)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One request, with ``body`` as JSON; ``x_request_id="a"`` is a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, path, json=body, headers=named)

    async def submit(self, task: str = "noop", **params: Any) -> str:
        """The id of a new job."""
        answer = await self.ask("POST", "/jobs", {"task": task, "params": params})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def job(self, job_id: str) -> dict[str, Any]:
        """The job as it stands."""
        answer = await self.ask("GET", f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def stored(self) -> int:
        """How many jobs the broker keeps."""
        return sum((await self.broker.stats()).states.values())

    def stream(self, path: str, headers: dict[str, str] | None = None) -> Stream:
        """A response to be read event by event."""
        return Stream(self.app, path, headers)


OpenHouse = Callable[..., Awaitable[House]]


@asynccontextmanager
async def opened(folder: Path, tasks: Sequence[AnyTask] = (), **settings: Any) -> AsyncIterator[House]:
    """A node's API on a broker in this folder, with these tasks and a few others."""
    url = settings.setdefault("broker_url", f"sqlite:///{folder / 'penstock.db'}?synchronous=normal")
    settings.setdefault("history", False)  # opening a database for each test would take longer than the test
    every = load([str(HAZARDOUS)])
    catalog = Catalog([*(every[name] for name in SERVED), *tasks])
    api = make_api(Settings(**{"node": "house"} | settings), catalog)
    broker = connect(url, BrokerOptions(), system_clock)
    async with api.running(), httpx.AsyncClient(transport=httpx.ASGITransport(api.app), base_url=URL) as http:
        await broker.open()
        try:
            yield House(url, api.app, http, broker)
        finally:
            await broker.close()


@pytest.fixture(scope="session")
def house_in() -> Any:
    """`opened`, for a house that the tests of a file share."""
    return opened


@pytest.fixture
async def open_house(tmp_path: Path) -> AsyncIterator[OpenHouse]:
    """``await open_house([task, …], max_body=2048)``: one more house on the test's broker."""
    async with AsyncExitStack() as stack:

        async def open_one(tasks: Sequence[AnyTask] = (), **settings: Any) -> House:
            return await stack.enter_async_context(opened(tmp_path, tasks, **settings))

        yield open_one


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    """A node's API with a few harmless tasks."""
    return await open_house()
