"""Certificates for tests, made by the keytool of the broker's Java."""

from __future__ import annotations

import subprocess
from pathlib import Path

from driftline.agents.devbroker.java import java

PASSWORD = "changeit"
_SIGNS = "ku:c=keyCertSign,cRLSign"  # Python 3.13 rejects an authority without it


class Authority:
    """A certificate authority.

    Parameters
    ----------
    folder
        Where everything is written; made if it is not there.

    Attributes
    ----------
    pem
        Its own certificate, for those who are to trust it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._store = folder / "authority.p12"
        self.pem = folder / "ca.pem"
        _keytool(
            self._store,
            "-genkeypair",
            "-alias",
            "ca",
            "-dname",
            f"CN={folder.name}",
            "-ext",
            "bc:c",
            "-ext",
            _SIGNS,
            "-keyalg",
            "EC",
        )
        _keytool(self._store, "-exportcert", "-rfc", "-alias", "ca", "-file", str(self.pem))

    def keystore(self, names: str) -> Path:
        """Key and certificate of a server with these names, such as "ip:127.0.0.1,dns:broker"."""
        path = self._folder / "server.p12"
        path.unlink(missing_ok=True)
        path.write_bytes(self._store.read_bytes())
        _keytool(
            path,
            "-genkeypair",
            "-alias",
            "server",
            "-dname",
            "CN=server",
            "-signer",
            "ca",
            "-ext",
            f"san={names}",
            "-keyalg",
            "EC",
        )
        _keytool(path, "-delete", "-alias", "ca")
        return path


def _keytool(store: Path, *arguments: str) -> None:
    keytool = Path(java()).resolve().with_name("keytool")
    command = [
        str(keytool),
        *arguments,
        "-keystore",
        str(store),
        "-storetype",
        "PKCS12",
        "-storepass",
        PASSWORD,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
