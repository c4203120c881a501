"""What goes into the image, and what the deployments make of it, is there and is called by its name."""

import json
import re
import shlex
from collections.abc import Iterator

import pytest
import typer

from penstock.cli.main import app
from penstock.settings import Settings
from support.deployment import DEPLOY, ROOT, dockerfile, fly, services

INSTRUCTIONS = dockerfile()
RUNTIME = INSTRUCTIONS[max(n for n, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM") :]
LOCK = re.compile(
    r"^(?P<name>[\w.\-]+)(?:\[[\w,\-]+\])?==(?P<version>\S+)(?P<marker>[^\\\n]*)\\$", re.MULTILINE
)
HASHED = re.compile(r"--hash=sha256:[0-9a-f]{64}")
SECRET = re.compile(r"key|password|secret|token|credential|\.env\b", re.IGNORECASE)


def those(word: str) -> list[str]:
    return [rest for each, rest in INSTRUCTIONS if each == word]


def copied() -> Iterator[tuple[str, str | None]]:
    """Each source of a COPY, and the stage it is taken from."""
    for rest in those("COPY"):
        words = rest.split()
        stage = next((word.removeprefix("--from=") for word in words if word.startswith("--from=")), None)
        yield from ((word, stage) for word in words[:-1] if not word.startswith("--"))


def pinned(name: str) -> dict[tuple[str, str], str]:
    """Versions by name and marker in a list of requirements."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert len(LOCK.findall(text)) == len(re.findall(r"^\S+==", text, re.MULTILINE))
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert HASHED.search(entry), entry
    return {(each["name"], each["marker"].strip()): each["version"] for each in LOCK.finditer(text)}


def test_sources_exist_and_are_let_in():
    allowed = {line.removeprefix("!") for line in ignore_lines() if line.startswith("!")}
    for source, stage in copied():
        for name in ("base", "page"):
            path = source.replace("${REQUIREMENTS}", name)
            if stage is None:
                assert (ROOT / path).exists(), path
                assert any((ROOT / path) in ROOT.glob(pattern) for pattern in allowed), f"{path} is ignored"
    assert all(list(ROOT.glob(pattern)) for pattern in allowed), "nothing is let in that is not there"


def ignore_lines() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_nothing_secret_can_get_in():
    first, *others = ignore_lines()
    assert first == "*", "what is not named stays out"
    allowed = {line for line in others if line.startswith("!")}
    paths = {"!pyproject.toml", "!README.md", "!LICENSE", "!requirements/*.txt", "!src", "!deploy/probe.py"}
    assert allowed == paths
    assert not those("ADD")
    for word in ("ENV", "ARG"):
        assert not [rest for rest in those(word) if SECRET.search(rest)]
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"deploy/.env", "deploy/.secrets/"} <= set(ignored)


def test_stages_are_there():
    stages = [rest.split(" AS ")[1] for rest in those("FROM")]
    assert len(stages) == 2
    assert {stage for _, stage in copied() if stage} <= set(stages[:-1])
    assert {rest.split(" AS ")[0] for rest in those("FROM")} == {"${PYTHON}"}, "both run the same Python"
    assert "PYTHON=docker.io/library/python:3.12-slim" in those("ARG")


def test_dependencies_are_pinned_and_installed_by_hash():
    installs = [
        step for rest in those("RUN") for step in rest.split("&&") if " install " in step and "pip" in step
    ]
    assert installs
    for step in installs:
        assert "--require-hashes" in step or "--no-deps --no-index" in step, step


def test_the_process_is_nobody_special_and_has_an_init():
    user = [rest for word, rest in RUNTIME if word == "USER"]
    assert user == ["penstock"]
    made = next(rest for word, rest in RUNTIME if word == "RUN")
    uid = re.search(r"useradd --uid (\d+)", made)
    assert uid is not None
    users = {service["user"] for service in services().values() if "build" in service}
    assert users == {f"{uid[1]}:{uid[1]}"}
    after = [word for word, _ in RUNTIME[RUNTIME.index(("USER", "penstock")) :]]
    assert not {"RUN", "COPY"} & set(after)
    (entry,) = [json.loads(rest) for word, rest in RUNTIME if word == "ENTRYPOINT"]
    assert entry == ["tini", "--", "penstock"]


def test_the_image_says_how_to_ask_for_its_health():
    (check,) = [rest for word, rest in RUNTIME if word == "HEALTHCHECK"]
    command = json.loads(check.partition(" CMD ")[2])
    targets = [rest.split()[-1] for word, rest in RUNTIME if word == "COPY"]
    assert command[-1] in targets
    for service in services().values():
        if "build" in service:
            assert service["healthcheck"]["test"] == ["CMD", *command]


@pytest.mark.parametrize("name", ["base", "page", "build"])
def test_the_image_has_what_was_tested(name):
    tested = pinned("dev")
    found = pinned(name)
    versions = {(package, version) for (package, _), version in tested.items()}
    assert found
    assert {(package, version) for (package, _), version in found.items()} <= versions


def test_extras_are_what_they_are_called():
    base, page = ({package for package, _ in pinned(name)} for name in ("base", "page"))
    assert {"fastapi", "hiredis", "psycopg-binary", "numpy", "uvloop"} <= base < page
    assert {"streamlit", "pyarrow"} <= page - base
    assert not {"pytest", "ruff", "playwright"} & page
    args = {
        service["build"]["args"]["REQUIREMENTS"]
        for service in services().values()
        if "args" in service.get("build", {})
    }
    assert args | {fly()["build"]["args"]["REQUIREMENTS"]} == {"page"}


def test_every_variable_is_a_setting():
    settings = {f"PENSTOCK_{name.upper()}" for name in Settings.model_fields}
    for path in sorted(DEPLOY.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and ".secrets" not in path.parts:
            assert set(re.findall(r"PENSTOCK_[A-Z_]+", path.read_text())) <= settings, path.name


def commands() -> Iterator[list[str]]:
    for service in services().values():
        if "build" in service:
            yield service["command"]
    yield from map(shlex.split, fly()["processes"].values())
    script = (DEPLOY / "cloud-run.sh").read_text()
    yield from ([word] for word in re.findall(r"--args (\w+)", script))


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_commands_can_be_understood(words):
    group = typer.main.get_command(app)
    context = group.make_context("penstock", [], resilient_parsing=True)
    command = group.get_command(context, words[0])
    assert command is not None, words[0]
    assert command.make_context(words[0], words[1:], parent=context)


def test_fly_serves_the_api_alone():
    document = fly()
    assert set(document["processes"]) == {"api", "worker", "page"}
    assert document["http_service"]["processes"] == ["api"], "the page asks nobody for a key"
    assert document["http_service"]["internal_port"] == Settings.model_fields["port"].get_default(
        call_default_factory=True
    )
    assert "services" not in document
    sized = [name for machine in document["vm"] for name in machine["processes"]]
    assert sorted(sized) == sorted(document["processes"])
    assert (DEPLOY / document["build"]["dockerfile"]).exists()
    assert not SECRET.search(" ".join(document["env"]))
