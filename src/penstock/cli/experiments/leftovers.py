"""``penstock experiment clean``: reports, and what runs left that could not clean up after themselves."""

from pathlib import Path

from penstock.cli.experiments import folder
from penstock.cli.experiments.keys import delete_left_over
from penstock.cli.experiments.runner import found


def remove_reports(place: Path) -> list[str]:
    """Delete the reports of experiments in this folder; nothing else that lies there."""
    doomed = [path for name in found() for path in place.glob(f"{name}-*Z*.json")]
    for path in doomed:
        path.unlink(missing_ok=True)
    return sorted(path.name for path in doomed)


def remove_folders() -> list[str]:
    """Delete temporary folders of runs that have ended."""
    doomed = list(folder.left_over())
    for path in doomed:
        folder.remove(path)
    return [path.name for path in doomed]


async def remove_namespaces(url: str) -> dict[str, int]:
    """Delete the keys of runs that have ended from this server; their numbers by namespace."""
    return await delete_left_over(url, folder.running)
