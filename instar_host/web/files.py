"""Static files: the shell's own, and the folders that panels bring.

Promises to serve only plain files below a named folder, of a known kind, never a dot file and never
through a link that leads out; each with an ETag, and with `no-cache` so that a page and its scripts
are never of two versions.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from starlette.responses import Response

from instar_host.web.answers import error_answer

MAX_FILE_BYTES = 8 * 1024 * 1024
DASHBOARD = Path(__file__).parent / "dashboard"

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".json": "application/json",
}

_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


def file_answer(folder: Path, segments: Sequence[str], known_etags: str) -> Response:
    """The file below `folder`, 304 when the reader has it, 404 for everything that is not
    served.
    """
    content = _content(folder, segments)
    if content is None:
        return error_answer(404, "Not found")
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"etag": etag, "cache-control": "no-cache"}
    if etag in {part.strip().removeprefix("W/") for part in known_etags.split(",")}:
        return Response(b"", 304, headers)
    kind = KINDS[os.path.splitext(segments[-1])[1]]
    return Response(content, headers={**headers, "content-type": kind})


def _content(folder: Path, segments: Sequence[str]) -> bytes | None:
    if not segments or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        return None
    if os.path.splitext(segments[-1])[1] not in KINDS:
        return None
    root = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(root, *segments))
    if os.path.commonpath((root, path)) != root or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    return content if len(content) <= MAX_FILE_BYTES else None
