"""``make local-up`` and its like: what they call is there, and they say plainly what is missing."""

import os
import re
import shutil
import subprocess

import pytest

from support.deployment import DEPLOY, ROOT
from support.programs import program

pytestmark = pytest.mark.slow

SCRIPTS = sorted(DEPLOY.rglob("*.sh"))
LOCAL = ("local-up", "local-down", "local-logs", "redis-cli")
SHELL = ("bash", "basename", "cut", "dirname", "env", "git", "make", "sed", "sh")


@pytest.fixture
def bare(tmp_path):
    """An environment whose PATH has a shell and little else: no container engine, no gcloud."""
    for name in SHELL:
        (tmp_path / name).symlink_to(shutil.which(name))
    kept = {name: os.environ[name] for name in ("HOME", "PYTHONPATH") if name in os.environ}
    return kept | {"PATH": str(tmp_path)}


def run(*words, **environment):
    ran = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_read(script):
    code, _, errors = run("bash", "-n", str(script), **os.environ)
    assert code == 0, errors


def test_shellcheck_has_nothing_to_say():
    checker = program("shellcheck", "apt-get install shellcheck")
    code, said, _ = run(checker, *map(str, SCRIPTS), **os.environ)
    assert code == 0, said


def test_help_lists_every_target():
    code, said, _ = run(program("make", "apt-get install make"), "help", **os.environ)
    assert code == 0
    listed = re.findall(r"^  make (\S+) +\S", said, re.MULTILINE)
    assert {*LOCAL, "deploy-all"} <= set(listed)


@pytest.mark.parametrize("target", LOCAL)
def test_a_target_calls_a_verb_of_the_script(bare, target):
    code, said, errors = run("make", "-n", target, **bare)
    assert code == 0, errors
    script, verb = said.split()[:2]
    assert os.access(ROOT / script, os.X_OK)
    assert f"\n  {verb}) " in (ROOT / script).read_text()


@pytest.mark.parametrize("target", LOCAL)
def test_without_containers_it_says_what_to_install(bare, target):
    code, _, errors = run("make", target, **bare)
    assert code != 0
    assert "docker with its compose plugin, or podman with podman-compose; neither is here" in errors
    assert "penstock up" in errors


def test_an_engine_that_was_asked_for_is_named(bare):
    code, _, errors = run("make", "local-up", ENGINE="podman", **bare)
    assert code != 0
    assert "ENGINE=podman" in errors


def test_deploying_wants_a_project(bare):
    code, said, errors = run("make", "deploy-all", DRY_RUN="1", **bare)
    assert code != 0
    assert "PROJECT_ID" in errors
    assert not said


def test_deploying_wants_gcloud(bare):
    code, said, errors = run("make", "deploy-all", "PROJECT_ID=demo", **bare)
    assert code != 0
    assert "gcloud is not installed" in errors
    assert not said, "nothing is done by halves"


def test_a_dry_run_prints_every_command(bare):
    code, said, errors = run("make", "deploy-all", "PROJECT_ID=demo", "REGION=us-east1", "DRY_RUN=1", **bare)
    assert code == 0, errors
    lines = said.splitlines()
    assert all(line.startswith("+ ") for line in lines)
    order = (
        "secrets describe",
        "docker build",
        "docker push",
        "worker-pools deploy",
        "run deploy penstock-api",
    )
    places = [next(n for n, line in enumerate(lines) if words in line) for words in order]
    assert places == sorted(places)
    for line in lines:
        assert "gcloud" not in line or "configure-docker" in line or "--project demo" in line
    deploys = [line for line in lines if " deploy " in line]
    assert [re.search(r"--args (\S+)", line)[1] for line in deploys] == ["worker", "api"]
    image = {re.search(r"--image (\S+)", line)[1] for line in deploys}
    assert len(image) == 1
    assert image.pop().startswith("us-east1-docker.pkg.dev/demo/penstock/penstock:")
    for line in deploys:
        assert "PENSTOCK_BROKER_URL=penstock-broker-url:latest" in line.replace("\\", "")
    assert "PENSTOCK_API_KEYS=penstock-api-keys:latest" in deploys[-1].replace("\\", "")
