"""The page: one shell for all of its addresses, and the files that it loads.

The files lie under an address that carries the hash of all of them, so that a browser keeps them
for ever and never mixes two releases. plotly.js comes from the installed package.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler

FOLDER: Final = Path(__file__).parent / "page"
ROOT: Final = "/page"
ADDRESSES: Final = (
    "/",
    "/models/{rest:path}",
    "/alerts",
    "/alerts/{rest:path}",
    "/registry/{rest:path}",
    "/pipeline",
)
"""Addresses of the page; what they name is read by the page itself."""
PLOTLY: Final = "plotly.min.js"
FOR_EVER: Final = "public, max-age=31536000, immutable"
_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# plotly.js makes styles for maps, which the policy refuses, unless an element of this id is there.
_MAP_STYLES: Final = re.compile(rb'getElementById\("([0-9a-f]{64})"\)')


class PageFile:
    """One file as it is sent.

    Parameters
    ----------
    content
        Its bytes.
    suffix
        End of its name, which says what it is.
    """

    def __init__(self, content: bytes, suffix: str) -> None:
        self.content = content
        self.media_type = _TYPES[suffix]
        self.name = hashlib.sha256(content).hexdigest()[:12]

    @cached_property
    def compressed(self) -> bytes:
        """The content as gzip."""
        return gzip.compress(self.content, compresslevel=9, mtime=0)


class PageFiles:
    """All files of the page.

    Attributes
    ----------
    files
        By path below `root`.
    root
        Address below which they lie.
    shell
        The document of all addresses of the page.
    """

    def __init__(self) -> None:
        self.files = dict(_own_files())
        plotly = _plotly()
        mark = hashlib.sha256()
        for path, file in sorted(self.files.items()):
            mark.update(f"{path} {file.name}\n".encode())
        self.root = f"{ROOT}/{mark.hexdigest()[:12]}"
        place, map_styles = "", ""
        if plotly is not None:
            self.files[f"{plotly.name}/{PLOTLY}"] = plotly
            place = f"{self.root}/{plotly.name}/{PLOTLY}"
            if (found := _MAP_STYLES.search(plotly.content)) is not None:
                map_styles = found[1].decode()
        shell = (FOLDER / "index.html").read_text(encoding="utf-8")
        for word, value in (
            ("FILES", self.root),
            ("PLOTLY_ADDRESS", place),
            ("PLOTLY_MAP_STYLES", map_styles),
        ):
            shell = shell.replace(word, value)
        self.shell = PageFile(shell.encode(), ".html")

    def handlers(self) -> list[HTTPRouteHandler]:
        """Routes of the page and its files; they are no part of the API and its reference."""

        @get(list(ADDRESSES), include_in_schema=False, sync_to_thread=False)
        def page(request: Request[Any, Any, Any]) -> Response[bytes]:
            return _response(request, self.shell, cache="no-cache")

        @get(f"{self.root}/{{path:path}}", include_in_schema=False, sync_to_thread=True)
        def page_file(request: Request[Any, Any, Any], path: str) -> Response[bytes]:
            file = self.files.get(path.lstrip("/"))
            if file is None:
                raise NotFoundException
            return _response(request, file, cache=FOR_EVER)

        return [page, page_file]


def _own_files() -> Iterator[tuple[str, PageFile]]:
    for path in sorted(FOLDER.rglob("*.*")):
        name = path.relative_to(FOLDER).as_posix()
        if path.suffix in _TYPES and name != "index.html":
            yield name, PageFile(path.read_bytes(), path.suffix)


def _plotly() -> PageFile | None:
    """The library of the installed package; None without it, and charts say that it is missing."""
    package = find_spec("plotly")
    for place in () if package is None else package.submodule_search_locations or ():
        path = Path(place) / "package_data" / PLOTLY
        if path.is_file():
            return PageFile(path.read_bytes(), ".js")
    return None


def _response(request: Request[Any, Any, Any], file: PageFile, *, cache: str) -> Response[bytes]:
    headers = {"Cache-Control": cache, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(file.compressed, headers=headers, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)
