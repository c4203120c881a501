"""``penstock page``: the optimiser's page in a browser, on a node or alone."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from penstock.app.reference import tell_tasks
from penstock.cli.options import Host, Insecure
from penstock.cli.run import ExitCode, Url, fail, plain_errors, settings
from penstock.settings import Settings

SCRIPT = Path(__file__).parents[1] / "page" / "script.py"

PagePort = Annotated[int, typer.Option("--port", min=1, max=65_535, help="Port the page listens on.")]
Alone = Annotated[bool, typer.Option("--alone", help="Compute in the page, whatever node there is.")]


def command() -> typer.Typer:
    """Serve the page."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def page(
        *,
        host: Host = None,
        port: PagePort = 8501,
        url: Url = None,
        alone: Alone = False,
        insecure: Insecure = None,
    ) -> None:
        """Serve the page of habitat_allocation until Ctrl-C."""
        with plain_errors():
            chosen = settings(host=host, insecure=insecure)
            if not (chosen.on_loopback or chosen.insecure):
                fail(
                    f"the page asks nobody for a key; add --insecure to serve it on {chosen.host}",
                    ExitCode.USAGE,
                )
            if importlib.util.find_spec("streamlit") is None:
                fail('the page needs Streamlit: pip install "penstock[streamlit]"', ExitCode.USAGE)
            tell_tasks(chosen)
            os.execve(sys.executable, _words(chosen.host, port), _environment(chosen, url, alone=alone))  # noqa: S606

    return app


def _words(host: str, port: int) -> list[str]:
    options = {
        "server.address": host,
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "theme.primaryColor": "#2e6b46",
    }
    told = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [sys.executable, "-m", "streamlit", "run", str(SCRIPT), *told]


def _environment(chosen: Settings, url: str | None, *, alone: bool) -> dict[str, str]:
    """With the node to talk to, as every command finds it, and the key for it; without any if ``alone``."""
    told = {name: value for name, value in os.environ.items() if name != "PENSTOCK_URL"}
    node = None if alone else url or chosen.node_url
    if node is not None:
        told["PENSTOCK_URL"] = node
    if chosen.key is not None:
        told["PENSTOCK_API_KEY"] = chosen.key
    return told
