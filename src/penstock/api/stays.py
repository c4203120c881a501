"""Requests that may stay long: those that wait for jobs, and streams of events."""

from urllib.parse import parse_qsl

from starlette.types import Message, Scope, Send

_STREAM = "/events"
_WAITS = "/waits"


def may_stay(scope: Scope) -> bool:
    """Whether a request may take longer than its key is known."""
    path, query = scope["path"], scope["query_string"]
    if scope["method"] == "GET" and path.endswith(_STREAM):
        return True
    if scope["method"] == "POST" and path == _WAITS:
        return True
    return bool(query) and "wait" in dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


class Answer:
    """Passes an answer on, and can end it where it is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self._over = False

    async def __call__(self, message: Message) -> None:
        """Pass one message on."""
        self.begun = True
        self._over = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        """Nothing more comes."""
        if not self._over:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
