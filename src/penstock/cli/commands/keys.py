"""``penstock keys``: make, list and revoke API keys."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry

from penstock.app.broker import make_broker
from penstock.cli import show
from penstock.cli.options import BrokerUrl
from penstock.cli.run import Json, plain_errors, settings
from penstock.core.clock import iso, system_clock
from penstock.core.fairness import MOST_WEIGHT
from penstock.core.keys import Key, Role, Sees, entry, mint
from penstock.ports import Broker
from penstock.service import keyring

Name = Annotated[str, typer.Argument(help="Who or what will use it; stands on the jobs it submits.")]
NameOrId = Annotated[str, typer.Argument(help="The key's name or id.")]
RoleOption = Annotated[Role, typer.Option(help="read: look; submit: also have jobs done; admin: everything.")]
SeesOption = Annotated[
    Sees | None, typer.Option(help="Jobs it gets to see. [own for submit, all for read and admin]")
]
ClientOption = Annotated[str | None, typer.Option(help="Client whose jobs it submits. [NAME]")]
WeightOption = Annotated[int, typer.Option(min=1, max=MOST_WEIGHT, help="Its share of the workers.")]
MaxRunning = Annotated[int | None, typer.Option(min=1, help="Its jobs that may run at a time.")]
Detached = Annotated[
    bool, typer.Option("--detached", help="Store nothing: print the entry for PENSTOCK_API_KEYS, too.")
]


def command() -> typer.Typer:
    """API keys. They are kept with the jobs, so these commands go to the broker, not to a node."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make, list and revoke API keys.")

    @app.command()
    def create(
        name: Name,
        *,
        role: RoleOption,
        sees: SeesOption = None,
        client: ClientOption = None,
        weight: WeightOption = 1,
        max_running: MaxRunning = None,
        detached: Detached = False,
        broker: BrokerUrl = None,
        as_json: Json = False,
    ) -> None:
        """Make a key and print it: this once, only its hash is kept."""
        with plain_errors(as_json=as_json):
            text, key = mint(
                name,
                role,
                client=client,
                sees=sees,
                weight=weight,
                max_running=max_running,
                now=system_clock(),
            )
            if not detached:
                _on_broker(broker, lambda kept: keyring.store(kept, key))
            _show_new(text, key, detached=detached, as_json=as_json)

    @app.command("list")
    def list_keys(broker: BrokerUrl = None, as_json: Json = False) -> None:
        """List the keys that are kept, without what is secret."""
        with plain_errors(as_json=as_json):
            _on_broker(broker, lambda kept: _list(kept, as_json=as_json))

    @app.command()
    def revoke(name: NameOrId, broker: BrokerUrl = None, as_json: Json = False) -> None:
        """Revoke a key; every node refuses it within two seconds."""
        with plain_errors(as_json=as_json):
            _on_broker(broker, lambda kept: _revoke(kept, name, as_json=as_json))

    return app


def _on_broker(url: str | None, action: Callable[[Broker], Awaitable[None]]) -> None:
    async def run() -> None:
        broker = make_broker(settings(broker_url=url), CollectorRegistry())
        try:
            await broker.open()
            await action(broker)
        finally:
            await broker.close()

    asyncio.run(run())


def _show_new(text: str, key: Key, *, detached: bool, as_json: bool) -> None:
    if as_json:
        more = {"entry": entry(key)} if detached else {}
        show.as_json({"key": text} | _told(key) | more)
        return
    show.console.print(text, markup=False, soft_wrap=True)
    if detached:
        show.console.print(f"PENSTOCK_API_KEYS={entry(key)}", markup=False, soft_wrap=True)
    show.errors.print(f"[dim]{key.role} key {key.name!r}; it is not shown again[/dim]", soft_wrap=True)


async def _list(broker: Broker, *, as_json: bool) -> None:
    keys = await keyring.stored(broker)
    if as_json:
        show.as_json([_told(key) for key in keys])
        return
    columns = ("name", "id", "role", "client", "sees", "weight", "max running", "created")
    rows = (
        (
            key.name,
            key.id,
            key.role,
            key.client,
            key.sees,
            key.weight,
            key.max_running,
            iso(key.created_at),
        )
        for key in keys
    )
    show.table(columns, rows, "there are no keys")


async def _revoke(broker: Broker, name: str, *, as_json: bool) -> None:
    key = await keyring.revoke(broker, name)
    if as_json:
        show.as_json(_told(key))
    else:
        show.console.print(f"revoked {key.name} ({key.id})", markup=False)


def _told(key: Key) -> dict[str, object]:
    """A key as it may be shown."""
    return {
        "name": key.name,
        "id": key.id,
        "role": key.role,
        "client": key.client,
        "sees": key.sees,
        "weight": key.weight,
        "max_running": key.max_running,
        "created_at": iso(key.created_at),
    }
