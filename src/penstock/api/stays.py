"""Requests that may stay long: those that wait for jobs, and streams of events."""

from starlette.types import Message, Scope, Send

_STREAM = "/events"
_WAITS = "/waits"


def may_stay(scope: Scope) -> bool:
    """Whether a request may take longer than its key is known."""
    path: str = scope["path"]
    return path.endswith(_STREAM) or path == _WAITS or b"wait=" in scope["query_string"]


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
