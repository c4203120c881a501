"""Certificates for tests of TLS: an authority of their own, made with the openssl command and thrown away."""

import subprocess
from pathlib import Path

from support.programs import program

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
AUTHORITY = ("-x509", "-days", "2", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
LEAF = """\
subjectAltName = IP:127.0.0.1, DNS:localhost
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
authorityKeyIdentifier = keyid
"""


class Certificates:
    """Made in ``folder``: an authority, and a certificate with its key for 127.0.0.1, server or client."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = folder / "authority.crt"
        self.certificate = folder / "leaf.crt"
        self.key = folder / "leaf.key"
        self._openssl = program("openssl", "apt-get install openssl")
        self._make_authority(folder / "authority.key")
        self._make_leaf(folder)

    def _make_authority(self, key: Path) -> None:
        named = ["-subj", "/CN=Authority of a test", "-keyout", key, "-out", self.authority]
        self._run("req", *AUTHORITY, *KEY, *named)

    def _make_leaf(self, folder: Path) -> None:
        request, extensions = folder / "leaf.csr", folder / "leaf.ext"
        extensions.write_text(LEAF)
        self._run("req", "-new", *KEY, "-subj", "/CN=127.0.0.1", "-keyout", self.key, "-out", request)
        signer = ["-CA", self.authority, "-CAkey", folder / "authority.key", "-CAcreateserial"]
        made = ["-in", request, "-extfile", extensions, "-out", self.certificate]
        self._run("x509", "-req", "-days", "2", *signer, *made)

    def _run(self, *arguments: str | Path) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True)

    @property
    def server_lines(self) -> dict[str, str]:
        """What the configuration of a Redis server says about them; it asks no certificate of its clients."""
        return {
            "tls-cert-file": str(self.certificate),
            "tls-key-file": str(self.key),
            "tls-ca-cert-file": str(self.authority),
            "tls-auth-clients": "no",
        }
