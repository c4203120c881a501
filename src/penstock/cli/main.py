"""``penstock``: finds the module of the command that was asked for, and only imports that one."""

import importlib
import pkgutil
from typing import Any

import typer
from typer.core import TyperGroup

from penstock.cli import commands, show
from penstock.cli.run import AS_JSON
from penstock.core.errors import ErrorCode, PenstockError

ORDER = ("up", "api", "worker", "submit", "get", "wait", "cancel", "retry", "jobs", "dead")

UsageError: Any = typer.BadParameter.__mro__[1]
"""What Typer raises for a command line that it does not understand."""


class Commands(TyperGroup):
    """The modules of ``penstock.cli.commands``; each has ``command()`` giving a Typer application."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the group's signature
        """Those of everyday use first, then the rest by name."""
        names = [entry.name for entry in pkgutil.iter_modules(commands.__path__)]
        return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, None if there is none."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{commands.__name__}.{cmd_name}")
        found = typer.main.get_command(module.command())
        found.name = cmd_name
        return found

    def invoke(self, ctx: Any) -> Any:
        """Run the command; with ``--json`` wrong usage is told as JSON, too."""
        ctx.meta[AS_JSON] = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except UsageError as wrong:
            if ctx.meta[AS_JSON]:
                show.error_json(PenstockError(ErrorCode.INVALID_REQUEST, wrong.format_message()))
            raise


app = typer.Typer(
    cls=Commands,
    name="penstock",
    help="Durable jobs from CPU-heavy Python functions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _penstock() -> None:
    """Durable jobs from CPU-heavy Python functions."""


def main() -> None:
    """The console script."""
    app()
