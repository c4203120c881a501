"""The image, built and run where there is a container engine with its base image; none is fetched.

No container here has a network of its own: the build uses this machine's, the rest have none.
"""

import json
import os
import shutil
import subprocess

import pytest

from support.deployment import ROOT
from support.wait import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BASE = "docker.io/library/python:3.12-slim"
TAG = "penstock:test"
NODE = "penstock-test-node"
ENVIRONMENT = os.environ | {"BUILDAH_FORMAT": "docker"}


def has_base(engine):
    found = subprocess.run([engine, "image", "inspect", BASE], capture_output=True, check=False)
    return found.returncode == 0


ENGINE = next((each for each in ("podman", "docker") if shutil.which(each) and has_base(each)), None)


def engine(*words, check=True):
    """The engine, when it has ended. Fails with its complaint."""
    ran = subprocess.run(
        [ENGINE, *words], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert not check or ran.returncode == 0, ran.stderr
    return ran


def said(*words):
    """What it prints; the engine's own remarks, which go to standard error, left out."""
    return engine(*words).stdout


@pytest.fixture(scope="module")
def image():
    if ENGINE is None:
        pytest.skip(f"there is no podman or docker with {BASE}")
    pull = ("--pull=never",) if ENGINE == "podman" else ()
    engine("build", *pull, "--network", "host", "-f", "deploy/Dockerfile", "-t", TAG, ".")
    yield TAG
    engine("rmi", "--force", TAG, check=False)


@pytest.fixture
def node(image):
    """A whole node in a container that can write to nothing but its volume."""
    shut_in = ("--read-only", "--tmpfs", "/tmp", "--volume", f"{NODE}:/data", "--cap-drop", "ALL")
    settings = ("-e", "PENSTOCK_INSECURE=1", "-e", "PENSTOCK_SLOTS=1")
    engine("run", "--detach", "--name", NODE, "--network", "none", *shut_in, *settings, image, "up")
    yield NODE
    engine("rm", "--force", NODE, check=False)
    engine("volume", "rm", NODE, check=False)


def test_nothing_but_the_program_is_in_it(image):
    words = ("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c")
    assert said(*words, "id -u; ls -A /data; find / -xdev -name .git 2>/dev/null || true").split() == [
        "10001"
    ]
    assert said(*words, "ls /opt/penstock").split() == [
        "bin",
        "include",
        "lib",
        "lib64",
        "probe.py",
        "pyvenv.cfg",
    ]


def test_it_lets_nobody_in_without_keys(image):
    ran = engine("run", "--rm", "--network", "none", image, "api", check=False)
    assert ran.returncode == 2
    assert "there are no API keys" in ran.stderr


def test_a_node_runs_a_job_is_healthy_and_stops_in_order(node):
    def healthy():
        return engine("exec", node, "python", "-I", "/opt/penstock/probe.py", check=False).returncode == 0

    until(healthy, within=90, what="the image's own check finds it healthy")
    job = said("exec", node, "penstock", "submit", "add", "--a", "2", "--b", "3", "--wait", "--json")
    assert json.loads(job)["result"] == {"sum": 5}
    engine("stop", "--time", "40", node)
    assert said("inspect", "--format", "{{.State.ExitCode}}", node).strip() == "0"
