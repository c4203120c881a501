"""An executor's own node, from outside: scripts as people write them."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from support.wait import until

pytestmark = pytest.mark.slow

ENDS_S = 120

TASKS = """
import os
from support.wait import until
from penstock import Executor, task

@task(queue="own")
def square(x: int) -> int:
    return x * x

@task(retries=0)
def wait_for(path: str) -> str:
    until(lambda: os.path.exists(path))
    return path
"""

GUARD = '\nif __name__ == "__main__":\n'


def start(folder, body):
    script = folder / "script.py"
    script.write_text(TASKS + body)
    root = Path(__file__).parents[2]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{root / 'src'}:{root / 'tests'}"}
    environment |= {"TMPDIR": str(folder), "PENSTOCK_NODE": "another", "PENSTOCK_API_KEYS": ""}
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(script)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_in(folder):
    """Processes that work there."""
    return [each for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == str(folder)]


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    for process in left_in(tmp_path):
        process.kill()


def test_a_script_that_forgets_to_shut_it_down_ends_when_its_jobs_have(folder):
    body = """
    future = Executor(max_workers=1).submit(square, 3)
    future.add_done_callback(lambda done: print(done.result(), flush=True))
"""
    script = start(folder, GUARD + body)
    printed, _ = script.communicate(timeout=ENDS_S)
    assert (printed, script.returncode) == ("9\n", 0)
    until(lambda: not left_in(folder), what="nobody is left")


def test_a_script_without_a_guard_is_told(folder):
    script = start(folder, "\nwith Executor() as pool:\n    print(pool.submit(square, 3).result())\n")
    printed, _ = script.communicate(timeout=ENDS_S)
    assert script.returncode == 1
    assert 'start the Executor under `if __name__ == "__main__":`' in printed
    until(lambda: not left_in(folder), what="nobody is left")


def test_a_port_that_somebody_else_took_meanwhile_is_left_to_him(folder):
    body = """
    import http.server, threading
    from penstock.client import own_node
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def log_message(self, *_): ...
    other = http.server.HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    free, told = own_node._free_port, [other.server_port]
    own_node._free_port = lambda: told.pop() if told else free()
    with Executor(max_workers=1) as pool:
        print(pool.submit(square, 3).result(), told)
    other.shutdown()
    other.server_close()
"""
    script = start(folder, GUARD + body)
    printed, _ = script.communicate(timeout=ENDS_S)
    assert (printed, script.returncode) == ("9 []\n", 0)


def test_a_killed_script_leaves_no_node(folder):
    body = """
    with Executor(max_workers=1) as pool:
        print(pool.submit(square, 3).result(), flush=True)
        pool.submit(wait_for, "never").result()
"""
    script = start(folder, GUARD + body)
    assert script.stdout is not None
    assert script.stdout.readline() == "9\n"
    assert len(left_in(folder)) >= 4, "script, launcher, API, worker"
    script.send_signal(signal.SIGKILL)
    until(lambda: not left_in(folder), ENDS_S)
    script.stdout.close()
    script.wait()
