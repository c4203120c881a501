"""Imports go down the floors, in no circle, and stand where a reader looks for them."""

import ast
import graphlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
FILES = sorted(path for path in SRC.rglob("*.py") if not path.relative_to(SRC).parts[-1].startswith("."))
LONGEST_FILE = 400

MAY_IMPORT = {
    "core": {"core"},
    "ports": {"core"},
    "history_port": {"core"},
    "worker_ports": {"core"},
    "machine": set(),
    "whereabouts": {"core"},
    "brokers": {"core", "ports", "brokers"},
    "executors": {"core", "worker_ports", "executors"},
    "history": {"core", "history_port", "history"},
    "spool": {"core", "worker_ports", "spool"},
    "telemetry": {"core", "ports", "telemetry"},
    "service": {"core", "ports", "history_port", "service"},
    "worker": {"core", "ports", "worker_ports", "worker"},
    "api": {"core", "ports", "service", "api"},
    "client": {"core", "whereabouts", "client"},
    "tasks": {"core", "tasks"},
    "settings": {"core", "machine", "whereabouts", "telemetry"},
    "app": {
        *(
            "core",
            "ports",
            "worker_ports",
            "history_port",
            "brokers",
            "executors",
            "history",
            "spool",
            "telemetry",
        ),
        *("service", "worker", "api"),
        *("settings", "app"),
    },
}
"""What each part may know of the others; only assembly (``app``) names an adapter, only ``cli`` knows all."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
IMPORTS = (ast.Import, ast.ImportFrom)


def module_name(path):
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def tree_of(path):
    return ast.parse(path.read_text(), str(path))


def imported(tree: ast.Module, name: str) -> Iterator[str]:
    """The modules of ours that a module imports; ``from package import module`` means the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative imports hide where things are"
            inner = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            yield from (full if full in MODULES else str(node.module) for full in inner.values())


def lint_copy(folder, path, line):
    """Check the contracts on a copy of the sources to which one line was added."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(SRC, folder / "src", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    with (folder / "src" / "penstock" / path).open("a") as file:
        file.write(f"\n{line}\n")
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_contracts_hold(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "line", "broken"),
    [
        ("core/job.py", "import penstock.ports", "imports only go down the floors BROKEN"),
        ("service/desk.py", "import penstock.settings", "imports only go down the floors BROKEN"),
        ("brokers/sqlite/rows.py", "import penstock.executors", "imports only go down the floors BROKEN"),
        ("api/wire.py", "from penstock import client", "imports only go down the floors BROKEN"),
        ("tasks/credit/draws.py", "import penstock.service.desk", "nothing imports the ready-made tasks"),
    ],
)
def test_contracts_bite(tmp_path, path, line, broken):
    told = lint_copy(tmp_path, path, line)
    assert told.returncode == 1, told.stdout + told.stderr
    assert broken in told.stdout


@pytest.mark.slow
def test_copy_without_a_breach_is_well(tmp_path):
    told = lint_copy(tmp_path, "core/job.py", "import json  # noqa: E402, F401")
    assert told.returncode == 0, told.stdout + told.stderr


def test_nothing_imports_the_ready_made_tasks():
    for name, path in MODULES.items():
        if not name.startswith("penstock.tasks"):
            found = [each for each in imported(tree_of(path), name) if each.startswith("penstock.tasks")]
            assert not found, name


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_each_part_knows_only_what_it_may(part):
    modules = {name: path for name, path in MODULES.items() if name.split(".")[1:2] == [part]}
    assert modules
    for name, path in modules.items():
        ours = {each.split(".")[1] for each in imported(tree_of(path), name) if each.startswith("penstock.")}
        assert ours <= MAY_IMPORT[part], name


def test_rules_need_no_library_but_the_two_for_values():
    # cronsim computes on datetimes, and does no I/O either.
    allowed = {"penstock", "pydantic", "pydantic_core", "msgspec", "cronsim", *sys.stdlib_module_names}
    for name, path in MODULES.items():
        if name.startswith("penstock.core"):
            assert {each.partition(".")[0] for each in imported(tree_of(path), name)} <= allowed, name


def test_modules_import_in_no_circle():
    graph = {
        name: {each for each in imported(tree_of(path), name) if each in MODULES and each != name}
        for name, path in MODULES.items()
    }
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError naming the circle
    assert len(order) == len(MODULES)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_import_hides_in_a_function(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, FUNCTIONS):
            hidden = [inner.lineno for inner in ast.walk(node) if isinstance(inner, IMPORTS)]
            assert not hidden, f"{path}:{hidden}"


def test_a_reader_can_hold_every_file_in_the_head():
    lengths = {module_name(path): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: length for name, length in lengths.items() if length >= LONGEST_FILE}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(tree_of(path))
