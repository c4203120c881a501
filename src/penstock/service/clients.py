"""What clients wait for, and what an operator allows them."""

import msgspec

from penstock.core.fairness import CLIENTS, ClientTerms
from penstock.ports import Broker, ClientWaits

SHOWN = 20
"""Clients of a queue that are told, those with the most waiting jobs."""

_terms = msgspec.json.Decoder(ClientTerms).decode


class Clients:
    """The part of the desk that is about clients."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def waits(self, only: str | None = None) -> dict[str, list[ClientWaits]]:
        """The clients with the most waiting jobs, by queue; of them ``only`` one, if it is named."""
        found: dict[str, list[ClientWaits]] = {}
        for each in await self._broker.clients(SHOWN):
            if only in {None, each.client}:
                found.setdefault(each.queue, []).append(each)
        return found

    async def terms(self) -> dict[str, ClientTerms]:
        """What is allowed to whom."""
        return {client: _terms(body) for client, body in (await self._broker.shelf(CLIENTS)).items()}

    async def limit(self, client: str, terms: ClientTerms | None) -> None:
        """Allow a client what is said here; None forgets it."""
        await self._broker.limit_client(client, terms)
