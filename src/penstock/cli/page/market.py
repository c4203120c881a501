"""What the form offers to choose from: the habitats and areas of the reference data that this page sees."""

import importlib
from typing import Any, NamedTuple

from penstock.core.errors import PenstockError

TASK_PACKAGE = "penstock.tasks.habitat"
"""Known by name only, as tasks are."""


class Choices(NamedTuple):
    """Names in alphabetical order; ``warning`` tells why they are not those that were loaded."""

    habitats: list[str]
    lpas: list[str]
    ncas: list[str]
    warning: str | None = None


def choices() -> Choices:
    """Those of the loaded reference data, else of the packaged."""
    try:
        return _of(importlib.import_module(f"{TASK_PACKAGE}.source").reference())
    except PenstockError as failed:
        warning = failed.message
    except Exception as failed:  # noqa: BLE001 - a page without its database is still of use
        warning = f"{type(failed).__name__}: {failed}"
    found = _of(importlib.import_module(f"{TASK_PACKAGE}.reference").packaged())
    return found._replace(warning=f"These are the packaged habitats and areas: {warning}")


def _of(reference: Any) -> Choices:
    touching = reference.neighbours
    lpas = {bank.lpa for bank in reference.banks.values()} | {
        name for kind, name in touching if kind == "lpa"
    }
    ncas = {bank.nca for bank in reference.banks.values()} | {
        name for kind, name in touching if kind == "nca"
    }
    return Choices(sorted(reference.habitats), sorted(lpas), sorted(ncas))
