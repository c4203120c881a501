"""The tutorial, followed to the letter: every block of it is run, in order, in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from support.ports import unused_port
from support.programs import program
from support.wait import until

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SAVED_AS = re.compile(r"Save this as `(\w+\.py)`")
OF_THE_REPOSITORY = ("make ", ". .venv")
SHORTER = {"--below 200000": "--below 60000", "--below 300000": "--below 150000"}
"""Counts that take long enough for what is done meanwhile."""

ENDS_S = 120

pytestmark = pytest.mark.slow


class Reader:
    """Somebody with two terminals. ``said`` is what each line or script printed."""

    def __init__(self, folder):
        self._folder = folder
        self._port = unused_port()
        self._node = None
        self._job = ""
        self.said = {}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self._environment = kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PENSTOCK_PORT": str(self._port),
            "PENSTOCK_SLOTS": "2",
            "PENSTOCK_LEASE": "1s",
            "PENSTOCK_DRAIN": "1s",
            "PENSTOCK_LINGER": "10ms",
            "COLUMNS": "150",
        }

    def follow(self, page):
        """Do what the page says."""
        end = 0
        for block in BLOCK.finditer(page):
            named = SAVED_AS.search(page, end, block.start())
            end = block.end()
            code = block["code"].replace("127.0.0.1:8000", f"127.0.0.1:{self._port}")
            for told, enough in SHORTER.items():
                code = code.replace(told, enough)
            if block["language"] == "python" and named:
                (self._folder / named[1]).write_text(code)
            elif block["language"] == "python":
                (self._folder / "pasted.py").write_text(code)
                self._run(code, f"{shlex.quote(sys.executable)} pasted.py")
            else:
                for line in code.splitlines():
                    self._type(line)

    def _type(self, line):
        if line.startswith(OF_THE_REPOSITORY):
            return
        if line.startswith("penstock up"):
            self.leave()
            self._start(line)
            return
        known = line.replace(" PID", f" {self._worker()}") if " PID" in line else line
        printed = self._run(line, re.sub(r"\bID\b", self._job, known))
        if line.startswith("penstock submit") and "--wait" not in line and printed:
            self._job = printed.split()[0]

    def _run(self, shown, command):
        environment = self._environment | {"PENSTOCK_URL": f"http://127.0.0.1:{self._port}"}
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=environment if "Executor()" not in shown else self._environment,
            capture_output=True,
            text=True,
            timeout=ENDS_S,
            check=False,
        )
        assert (ran.returncode == 0) is ('"many"' not in shown), f"{command}\n{ran.stdout}{ran.stderr}"
        self.said[shown] = self.said.get(shown, "") + ran.stdout + ran.stderr
        return ran.stdout

    def _start(self, line):
        with (self._folder / "node.log").open("ab") as log:
            self._node = subprocess.Popen(
                shlex.split(line), cwd=self._folder, env=self._environment, stdout=log, stderr=log
            )
        until(self._ready, what="the node is ready")

    def _ready(self):
        try:
            answer = httpx.get(f"http://127.0.0.1:{self._port}/health", timeout=5)
        except httpx.TransportError:
            return False
        return answer.json()["status"] == "ok"

    def _worker(self):
        return until(self._live, what="a worker is live")

    def _live(self):
        workers = httpx.get(f"http://127.0.0.1:{self._port}/workers", timeout=30).json()["workers"]
        return next((worker["pid"] for worker in workers if worker["live"]), None)

    def leave(self):
        """Ctrl-C."""
        if self._node is not None:
            self._node.terminate()
            self._node.wait(ENDS_S)


@pytest.fixture
def reader(tmp_path):
    program("curl", "apt-get install curl")
    reader = Reader(tmp_path)
    yield reader
    reader.leave()
    for process in psutil.process_iter(["cwd"]):
        if process.info["cwd"] == str(tmp_path):
            process.kill()


def test_the_tutorial_works(reader):
    reader.follow(TUTORIAL.read_text())
    said = {words: printed for shown, printed in reader.said.items() for words in [shown.strip()]}

    def of(part):
        (found,) = [printed for shown, printed in said.items() if part in shown]
        return found

    assert "25" in of("count_primes(100, Progress())")
    assert "1229" in of("--below 10000 --wait")
    assert '"cached":true' in of("curl --json")
    assert "succeeded 1229 True" in of("job.cached")
    assert "params.below" in of('"many"')
    assert "succeeded" in of("curl -N")
    assert "snapshot" in of("event.kind")
    assert "1 of 4" in said["penstock wait ID"].rpartition("attempt")[2]
    assert "17984" in of("primes_between")
    assert "10 of 10" in of("primes_between")
    assert "[168, 303, 430," in of("client.map")
    assert "[25, 168, 1229]" in of("Executor()")
    assert "count_primes" in of("schedules show census")
