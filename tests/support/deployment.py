"""What stands in ``deploy/``, read as the programs that use it read it."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<usual>[^}]*)|:\?[^}]*)?\}")


def compose(given: dict[str, str] | None = None) -> dict[str, Any]:
    """compose.yaml with its variables filled in: those ``given``, else what stands there as usual."""

    def value(found: re.Match[str]) -> str:
        return (given or {}).get(found["name"], found["usual"] or f"<{found['name']}>")

    text = _VARIABLE.sub(value, (DEPLOY / "compose.yaml").read_text())
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def services() -> dict[str, dict[str, Any]]:
    """The services of compose.yaml by name."""
    return {str(name): service for name, service in compose()["services"].items()}


def fly() -> dict[str, Any]:
    """fly.toml."""
    return tomllib.loads((DEPLOY / "fly.toml").read_text())


def instructions(text: str) -> list[tuple[str, str]]:
    """A Dockerfile's instructions: each word in capitals, and what follows it."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    lines = [line.strip() for line in joined.splitlines() if line.strip()]
    return [
        (word.upper(), " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in lines)
    ]


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the project's own Dockerfile."""
    return instructions((DEPLOY / "Dockerfile").read_text())
