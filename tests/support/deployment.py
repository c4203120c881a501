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


def dockerfile() -> list[tuple[str, str]]:
    """The Dockerfile's instructions: each word in capitals, and what follows it."""
    without_comments = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", without_comments).splitlines()
    parted = [line.strip().partition(" ") for line in lines if line.strip()]
    return [(word.upper(), " ".join(rest.split())) for word, _, rest in parted]
