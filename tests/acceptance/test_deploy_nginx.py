"""The front door of deploy/compose.yaml: nginx accepts the files as they are mounted, names and all."""

import shutil
import subprocess

import httpx
import pytest

from support.deployment import DEPLOY, services
from support.ports import unused_port
from support.programs import program
from support.wait import until

pytestmark = pytest.mark.slow

ADDRESSES = dict(entry.split(":") for entry in services()["nginx"]["extra_hosts"])
MOUNTED = "/etc/penstock"


@pytest.fixture
def mounted(tmp_path):
    """deploy/nginx where the container has it, but for names: this machine has no such hosts."""
    source, target, _ = services()["nginx"]["volumes"][0].split(":")
    assert target == MOUNTED
    folder = shutil.copytree(DEPLOY / source, tmp_path / "etc")
    upstream = folder / "upstream.conf"
    text = upstream.read_text()
    for name, address in ADDRESSES.items():
        text = text.replace(f"server {name}:", f"server {address}:")
    upstream.write_text(text)
    return folder


def test_nginx_understands_its_files(mounted, tmp_path):
    command = (mounted / "start.sh").read_text()
    assert f"exec nginx -p /tmp/ -c {MOUNTED}/nginx.conf -e stderr" in command
    words = ["-t", "-p", f"{tmp_path}/", "-c", str(mounted / "nginx.conf"), "-e", "stderr"]
    nginx = program("nginx", "apt-get install nginx-light")
    checked = subprocess.run([nginx, *words], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "test is successful" in checked.stderr


def answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code
    except httpx.TransportError:
        return None


def test_it_begins_when_the_first_node_answers(mounted, make_node, tmp_path):
    """start.sh itself, with two nodes of three that are not there; paths and port are this test's."""
    program("curl", "apt-get install curl")
    node, port = make_node("api", wait=False), unused_port()
    servers = [
        f"server 127.0.0.1:{each} max_fails=3;\n" for each in (unused_port(), node.port, unused_port())
    ]
    (mounted / "upstream.conf").write_text("".join(servers))
    (mounted / "listen.conf").write_text(f"listen 127.0.0.1:{port};\n")
    run = tmp_path / "run"
    run.mkdir(mode=0o777)
    script = (mounted / "start.sh").read_text().replace("/tmp/", f"{run}/").replace(MOUNTED, str(mounted))
    log = tmp_path / "door.log"
    with log.open("wb") as output:
        door = subprocess.Popen(["sh", "-c", script], stdout=output, stderr=output)
    try:
        node.wait_ready()
        until(lambda: answers(port) == 200, what="the door is open")
        until(lambda: '"uri":"/healthz"' in log.read_text(), what="the access log is its output")
    finally:
        door.terminate()
        door.wait(20)
    assert "no live upstreams" not in log.read_text()
