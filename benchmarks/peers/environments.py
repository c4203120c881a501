"""Which Python runs a contestant. Peers are not dependencies of Penstock: they live in ``.venv-peers``."""

import sys
from pathlib import Path

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parents[1]
VENVS = ROOT / ".venv-peers"


def contestants() -> list[str]:
    """All there are, Penstock first."""
    names = {path.stem for path in (PACKAGE / "contestants").glob("*.py")} - {"__init__"}
    return sorted(names, key=lambda name: (name != "penstock", name))


def python(contestant: str) -> str:
    """A list of requirements that bears a contestant's name is its environment; the others share one."""
    if contestant == "penstock":
        return sys.executable
    own = (PACKAGE / "requirements" / f"{contestant}.txt").exists()
    return str(VENVS / (contestant if own else "shared") / "bin" / "python")
