"""What is written down is true: code blocks can be read, tables match the code, nothing names a machine."""

import ast
import importlib
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest

from penstock.cli import commands
from penstock.cli.run import ExitCode

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)#]*)(?:#[^)]*)?\)")
CLI_PAGE = (ROOT / "docs" / "reference" / "cli.md").read_text()

MACHINE_PATH = re.compile(r"(?<![\w.:/~}])/(?:home|root|Users|work|tmp|mnt|workspace)/")
INDEX = re.compile(r"index-url|find-links|trusted-host|pypi\.|pythonhosted|artifactory|devpi", re.IGNORECASE)
HOST = re.compile(r"https?://")
CONFIGURATION = {".txt", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".lock", ""}


def name(path):
    return str(path.relative_to(ROOT))


def blocks(*languages):
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text()):
            if match["language"] in languages:
                line = page.read_text()[: match.start()].count("\n") + 1
                indent = len(match["indent"])
                code = "\n".join(each[indent:] for each in match["code"].splitlines())
                yield pytest.param(code, id=f"{name(page)}:{line}")


def tracked():
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [ROOT / each for each in listed.decode().split("\0") if each and (ROOT / each).is_file()]


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("code", list(blocks("python", "py")))
def test_python_in_the_documents_is_python(code):
    ast.parse(code)


@pytest.mark.parametrize("code", list(blocks("sh", "bash", "shell")))
def test_shell_in_the_documents_is_shell(code):
    checked = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_between_documents_lead_somewhere(page):
    text = BLOCK.sub("", page.read_text())
    targets = [match["target"] for match in LINK.finditer(text)]
    local = [target for target in targets if target and ":" not in target]
    assert not [target for target in local if not (page.parent / target).exists()]


def test_every_command_is_documented():
    documented = set(re.findall(r"^\| `(\w+)[ `]", CLI_PAGE, re.MULTILINE)) - {"code"}
    assert documented == {entry.name for entry in pkgutil.iter_modules(commands.__path__)}


def test_every_exit_code_is_documented():
    documented = [int(code) for code in re.findall(r"^\| (\d+) \|", CLI_PAGE, re.MULTILINE)]
    assert documented == [int(code) for code in ExitCode]


def test_every_command_module_says_what_it_is_for():
    for entry in pkgutil.iter_modules(commands.__path__):
        module = importlib.import_module(f"{commands.__name__}.{entry.name}")
        assert module.__doc__.startswith(f"``penstock {entry.name}"), entry.name


def test_configuration_names_no_machine_and_no_package_index():
    configuration = [path for path in tracked() if path.suffix in CONFIGURATION]
    for path in configuration:
        text = path.read_text(errors="replace")
        assert not MACHINE_PATH.search(text), name(path)
        assert not INDEX.search(text), name(path)


def test_lock_file_has_hashes_and_no_hosts():
    lock = (ROOT / "requirements" / "dev.txt").read_text()
    assert not HOST.search(lock)
    pinned = re.findall(r"^[\w.\-]+(?:\[[\w,\-]+\])?==", lock, re.MULTILINE)
    assert len(pinned) > 20
    for requirement in re.split(r"\n(?=\S)", lock.strip()):
        assert "--hash=sha256:" in requirement, requirement
