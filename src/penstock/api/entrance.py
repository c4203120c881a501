"""What a node's settings say about who may come in."""

from dataclasses import dataclass

from penstock.api.limiter import Limiter
from penstock.core.addresses import Network
from penstock.core.keys import Key
from penstock.service.keyring import Keyring


@dataclass(frozen=True)
class Entrance:
    """The way in; by default open to whoever has got here, such as a command on the broker's own machine.

    ``public``: the node can be reached from elsewhere and nobody said that this is all right without keys.
    ``proxies`` may say for whom they ask; pages from ``origins`` may call the API from a browser; browsers
    are told to use TLS alone for ``hsts_s`` seconds.
    """

    keyring: Keyring | None = None
    public: bool = False
    limiter: Limiter | None = None
    proxies: tuple[Network, ...] = ()
    origins: tuple[str, ...] = ()
    hsts_s: int = 0

    @property
    def asks_for_keys(self) -> bool:
        """Whether a request needs a key: as soon as there is one, and always where strangers may come.

        So a public node whose broker lost its keys does not stand open.
        """
        return self.public or not (self.keyring is None or self.keyring.empty)

    @property
    def guarded(self) -> bool:
        """Whether there is anything to look at before a request."""
        return self.limiter is not None or self.asks_for_keys

    def find(self, text: str) -> Key | None:
        """The key with this text, None if there is none."""
        return None if self.keyring is None else self.keyring.find(text)
