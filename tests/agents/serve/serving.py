"""A server of its own process, and questions to it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

ROOT = Path(__file__).resolve().parents[3]
Value = str | int | list[str]


@dataclass
class Answered:
    """A response."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Api:
    """A running server."""

    url: str
    process: subprocess.Popen[str]
    pool: urllib3.PoolManager

    def ask(
        self,
        path: str,
        parameters: dict[str, Value] | None = None,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        text: str | None = None,
    ) -> Answered:
        """The response to a question; `text` stands in place of the parameters as it is."""
        query = urlencode(parameters or {}, doseq=True) if text is None else text
        while True:
            response = self.pool.request(
                method, f"{self.url}{path}?{query}", headers=headers, redirect=False, retries=False
            )
            if response.status != 429:
                return Answered(response.status, response.headers, response.data)
            # A fast machine asks more often than the server allows.
            time.sleep(float(response.headers["retry-after"]))

    def get(self, path: str, **parameters: Value) -> Any:
        """The JSON of a route that answers."""
        found = self.ask(f"/api{path}", parameters)
        assert found.status == 200, found.body
        return found.json


@contextmanager
def served(*arguments: str) -> Iterator[Api]:
    """A server with these arguments on a free port; it ends with SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "driftline.agents.cli", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line
        with urllib3.PoolManager() as pool:
            yield Api(found[0], process, pool)
    finally:
        process.terminate()
        process.wait(timeout=30)
        if process.stdout is not None:
            process.stdout.close()
