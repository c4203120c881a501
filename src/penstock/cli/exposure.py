"""Refuses to serve strangers by accident."""

import ipaddress

from penstock.cli.run import ExitCode, fail
from penstock.settings import Settings


def refuse_public(chosen: Settings) -> None:
    """Without keys, anybody who reaches the port may run jobs; that must be said to be wanted."""
    if not chosen.insecure and not _is_loopback(chosen.host):
        message = (
            f"{chosen.host} can be reached from other machines and there are no API keys;"
            " listen on 127.0.0.1, or add --insecure if the network is trusted"
        )
        fail(message, ExitCode.USAGE)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
