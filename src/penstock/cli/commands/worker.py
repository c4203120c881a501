"""``penstock worker``: a worker alone."""

import typer
import uvloop

from penstock.app.worker import run_worker
from penstock.cli.memory import settle_memory
from penstock.cli.options import BrokerUrl, Modules, ParentFd, Queues, Slots, WordFd, begin
from penstock.cli.run import plain_errors


def command() -> typer.Typer:
    """Run jobs."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def worker(
        modules: Modules = None,
        *,
        slots: Slots = None,
        queues: Queues = None,
        broker: BrokerUrl = None,
        parent_fd: ParentFd = None,
        word_fd: WordFd = None,
    ) -> None:
        """Run jobs until Ctrl-C or SIGTERM, then let the running ones finish (a second Ctrl-C does not)."""
        with plain_errors(word_fd=word_fd):
            chosen = begin(modules, broker, slots=slots, queues=queues)
            settle_memory()
            uvloop.run(run_worker(chosen, parent_fd))

    return app
