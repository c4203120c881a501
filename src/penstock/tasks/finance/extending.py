"""How a simulation goes on where another one ended: what the two must have in common, and what is kept.

Kept are the chunks that were drawn to their end. A short last one is drawn anew, to its end.
"""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from penstock.core.fingerprint import canonical, fingerprint
from penstock.tasks.finance.draws import CHUNK

VERSION: Final = "1"
"""Of the way numbers are drawn and put together; another one finds other figures from the same seed."""


class Manifest(BaseModel):
    """With what a simulation was drawn, and how far. What it found there is added by each task."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    version: str = Field(max_length=20, description="Version of the way in which numbers are drawn.")
    seed: int = Field(ge=0, le=2**53 - 1, description="Seed of every stream.")
    parameters: str = Field(
        pattern="^[0-9a-f]{64}$", description="Fingerprint of all parameters that decide what is drawn."
    )
    chunks: int = Field(
        ge=0, le=2**32, description=f"Streams drawn to their end, {CHUNK} simulations each, a count."
    )

    @property
    def draws(self) -> int:
        """Simulations that need not be drawn again."""
        return self.chunks * CHUNK


def origin(seed: int, decisive: Any) -> dict[str, Any]:
    """What two simulations must have in common for one to go on with the other, as fields of a manifest.

    ``decisive``: all that decides what is drawn besides the seed, as JSON.
    """
    parameters = fingerprint("", VERSION, canonical([seed, decisive]))
    return {"version": VERSION, "seed": seed, "parameters": parameters}


def check(before: Manifest, simulations: int, wanted: dict[str, Any]) -> None:
    """Raises ValueError unless so many simulations of the ``wanted`` origin go on with those before."""
    for name, value in wanted.items():
        if getattr(before, name) != value:
            of = "one of the parameters" if name == "parameters" else name
            raise ValueError(f"extend: {of} is not that of the simulation to be extended")
    if simulations < before.draws:
        raise ValueError(f"simulations: must be at least the {before.draws} that were drawn before")
