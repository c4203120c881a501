"""Refuses to serve strangers by accident."""

import asyncio

from prometheus_client import CollectorRegistry

from penstock.app.broker import make_broker, open_patiently
from penstock.cli.run import ExitCode, fail
from penstock.service.keyring import stored
from penstock.settings import Settings


def refuse_public(chosen: Settings) -> None:
    """Without keys, anybody who reaches the port may run jobs; that must be said to be wanted."""
    if chosen.insecure or chosen.on_loopback or chosen.keys or asyncio.run(_any_stored(chosen)):
        return
    message = (
        f"{chosen.host} can be reached from other machines and there are no API keys; make one with"
        " penstock keys create NAME --role admin, or listen on 127.0.0.1, or add --insecure if the network"
        " is trusted"
    )
    fail(message, ExitCode.USAGE)


async def _any_stored(chosen: Settings) -> bool:
    broker = make_broker(chosen, CollectorRegistry())
    try:
        await open_patiently(broker, chosen.broker_url)
        return bool(await stored(broker))
    finally:
        await broker.close()
