"""Messages on a stream: four bytes of length, then msgpack."""

from typing import Generic, TypeVar

import msgspec

Message = TypeVar("Message")

_HEADER = 4

encode = msgspec.msgpack.Encoder().encode


def frame(message: object) -> bytes:
    """The message with its length in front."""
    body = encode(message)
    return len(body).to_bytes(_HEADER) + body


class Frames(Generic[Message]):
    """Cuts a stream of bytes into messages of one (union) type."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[Message]) -> None:
        self._decode = decoder.decode
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now."""
        rest = self._rest
        rest += data
        messages, start = [], 0
        while len(rest) - start >= _HEADER:
            end = start + _HEADER + int.from_bytes(rest[start : start + _HEADER])
            if len(rest) < end:
                break
            messages.append(self._decode(memoryview(rest)[start + _HEADER : end]))
            start = end
        del rest[:start]
        return messages
