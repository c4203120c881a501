"""A real nginx with the product's own front door, on a loopback port of its own."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import httpx

from support.ports import unused_port
from support.programs import program
from support.wait import PATIENCE_S, until

FRONT_DOOR = Path(__file__).parents[2] / "deploy" / "nginx"


class Nginx:
    """``with Nginx(tmp_path, [8001, 8002]) as door``: nginx in front of nodes on these ports.

    ``fail_timeout`` is how long a node that failed three times gets no request; ``limits`` switches the
    rate limit on, which a load test would only run into.
    """

    def __init__(
        self, folder: Path, ports: Iterable[int], *, fail_timeout: str = "30s", limits: bool = False
    ) -> None:
        self._program = program("nginx", "apt-get install nginx-light")
        self._folder = folder / "nginx"
        self._folder.mkdir()
        self._folder.chmod(0o777)  # as root, its workers are nobody's
        self.port = unused_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        shutil.copy(FRONT_DOOR / "nginx.conf", self._folder)
        if limits:
            shutil.copytree(FRONT_DOOR / "http.d", self._folder / "http.d")
        servers = [f"server 127.0.0.1:{port} max_fails=3 fail_timeout={fail_timeout};\n" for port in ports]
        (self._folder / "upstream.conf").write_text("".join(servers))
        (self._folder / "listen.conf").write_text(f"listen 127.0.0.1:{self.port};\n")

    def __enter__(self) -> Self:
        with (self._folder / "error.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-p", f"{self._folder}/", "-c", "nginx.conf", "-e", "stderr"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self._answers, what="nginx answers")
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.errors
        try:
            return bool(httpx.get(f"{self.url}/livez", timeout=5).status_code)
        except httpx.TransportError:
            return False

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE_S)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request through the door."""
        return httpx.request(method, f"{self.url}{path}", timeout=20, **options)

    @property
    def errors(self) -> str:
        """What it complained of."""
        return (self._folder / "error.log").read_text()

    @property
    def access(self) -> str:
        """A line of JSON per request."""
        return (self._folder / "access.log").read_text()
