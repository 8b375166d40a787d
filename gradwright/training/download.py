"""Fetch published files into the user's cache: over TLS only, checked before they get their name.

    fetch(PUBLISHED, MIRRORS, folder, report)

pooch does the transfer: to a temporary name in the same folder, compared with the pinned SHA-256,
then renamed; an interrupted download leaves nothing behind. Any failure of one mirror, a wrong
checksum included, leads to the next, and after the last to a second round. Redirects are not
followed, so that no server can lead to plain http. What is in the cache and right is kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gradwright.training.mnist import Published
from ir.errors import DataError

Report = Callable[[str, int, int], None]
"""Called with (file name, bytes so far, bytes in all) while a file arrives."""

ROUNDS = 2
PAUSE = 1.0
TIMEOUT = (5.0, 30.0)
_CHUNK = 1 << 16


def cache_folder() -> Path:
    """Where downloads live: `~/.cache/gradwright/mnist` on Linux, its like elsewhere."""
    import pooch

    return Path(pooch.os_cache("gradwright")) / "mnist"


def fetch(
    wanted: Sequence[Published],
    mirrors: Sequence[str],
    folder: Path,
    report: Report,
    *,
    schemes: tuple[str, ...] = ("https",),
    pause: float = PAUSE,
) -> None:
    """Bring every file of `wanted` into `folder`. Raises `DataError` when no mirror could.

    `schemes` is widened only by tests, which serve files from this machine.
    """
    _require_schemes(mirrors, schemes)
    for file in wanted:
        _fetch_file(file, mirrors, folder, report, pause)


def _require_schemes(mirrors: Sequence[str], schemes: tuple[str, ...]) -> None:
    for mirror in mirrors:
        if urlsplit(mirror).scheme not in schemes:
            raise DataError(
                f"refused to download from {mirror}",
                notes=(f"expected: {' or '.join(schemes)}", f"found: {urlsplit(mirror).scheme}"),
            )


def _fetch_file(
    file: Published, mirrors: Sequence[str], folder: Path, report: Report, pause: float
) -> None:
    failures: list[str] = []
    for attempt in range(ROUNDS):
        time.sleep(pause if attempt else 0)
        for mirror in mirrors:
            failure = _try_mirror(file, mirror, folder, report)
            if failure is None:
                return
            failures.append(f"{urlsplit(mirror).netloc}: {failure}")
    raise DataError(
        f"{file.name} could not be downloaded",
        notes=tuple(dict.fromkeys(failures)),
        fix="put the files in a folder and name it with --data-dir or GRADWRIGHT_DATA",
    )


def _try_mirror(file: Published, mirror: str, folder: Path, report: Report) -> str | None:
    """None when the file is there and right, else the reason why not."""
    import pooch
    import requests

    # pooch announces every download on stderr; `report` does that here.
    pooch.get_logger().setLevel(logging.ERROR)
    downloader = pooch.HTTPDownloader(
        progressbar=_Meter(file, report),
        chunk_size=_CHUNK,
        timeout=TIMEOUT,
        allow_redirects=False,
        hooks={"response": _refuse_redirect},
    )
    try:
        pooch.retrieve(
            mirror + file.name, f"sha256:{file.sha256}", file.name, folder, downloader=downloader
        )
    except requests.exceptions.RequestException as error:
        return _reason(error)
    except ValueError as error:
        return str(error) if isinstance(error, _TooLongError) else "wrong SHA-256"
    except OSError as error:
        raise DataError(
            f"the cache folder cannot be written: {error.strerror or error}",
            notes=(f"folder: {folder}",),
            fix="set XDG_CACHE_HOME to a folder of yours, or name the data with --data-dir",
        ) from None
    return None


def _refuse_redirect(response: Any, *_: Any, **__: Any) -> None:
    import requests

    if response.is_redirect:
        raise requests.exceptions.TooManyRedirects(response=None)


def _reason(error: Exception) -> str:
    """The short form of what `requests` wraps three times over."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    return {
        "ConnectionError": "no connection",
        "ConnectTimeout": "no answer in time",
        "ReadTimeout": "no answer in time",
        "SSLError": "no trusted TLS connection",
        "ProxyError": "no connection through the proxy",
        "TooManyRedirects": "a redirect, which is not followed",
        "ChunkedEncodingError": "the connection broke off",
    }.get(type(error).__name__, type(error).__name__)


class _TooLongError(ValueError):
    """More bytes arrive than the file has."""


@dataclass(slots=True)
class _Meter:
    """The progress bar that pooch drives; it also stops a server that never stops sending."""

    file: Published
    report: Report
    total: int = 0
    seen: int = field(default=0, init=False)

    def update(self, count: int) -> None:
        self.seen += count
        if self.seen > self.file.size + _CHUNK:
            raise _TooLongError(f"more than {self.file.size} bytes")
        self.report(self.file.name, min(self.seen, self.file.size), self.file.size)

    def reset(self) -> None:
        self.seen = 0

    def close(self) -> None:
        """pooch calls it at the end; the report has seen the last update."""
