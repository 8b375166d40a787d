"""Where data comes from: named folders, the cache, and mirrors served from this machine."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from gradwright.training import sources
from gradwright.training.download import fetch
from gradwright.training.idx import IdxSpec
from gradwright.training.image_folder import IMAGE_AXES, LABEL_AXES, FolderSpec
from gradwright.training.mnist import MIRRORS, Published
from gradwright.training.sources import Origin, choose
from ir.errors import DataError


def _content(rows: int) -> tuple[bytes, bytes]:
    images = np.random.default_rng(rows).integers(0, 256, (rows, 28, 28), np.uint8)
    labels = (np.arange(rows) % 10).astype(np.uint8)
    size = rows.to_bytes(4, "big")
    side = (28).to_bytes(4, "big")
    header = b"\0\0\x08\3" + size + side + side
    return header + images.tobytes(), b"\0\0\x08\1" + size + labels.tobytes()


TRAIN, TEST = _content(30), _content(20)
RAW = {
    "train-images-idx3-ubyte": TRAIN[0],
    "train-labels-idx1-ubyte": TRAIN[1],
    "t10k-images-idx3-ubyte": TEST[0],
    "t10k-labels-idx1-ubyte": TEST[1],
}
PACKED = {f"{stem}.gz": gzip.compress(raw, mtime=0) for stem, raw in RAW.items()}
PUBLISHED = tuple(
    Published(name, len(packed), hashlib.sha256(packed).hexdigest())
    for name, packed in PACKED.items()
)
FIRST = PUBLISHED[0].name


def _spec() -> FolderSpec:
    def one(stem: str, shape: tuple[int, ...], axes: tuple[str, ...]) -> IdxSpec:
        return IdxSpec(stem, axes, shape, hashlib.sha256(RAW[stem]).hexdigest())

    shapes = (30, 28, 28), (30,), (20, 28, 28), (20,)
    axes = IMAGE_AXES, LABEL_AXES, IMAGE_AXES, LABEL_AXES
    files = [one(*each) for each in zip(RAW, shapes, axes, strict=True)]
    return FolderSpec("mnist", *files, white=255.0, classes=10)


class Mirror(ThreadingHTTPServer):
    """Serves PACKED, after `answers` has had its say: a function of handler and file name."""

    daemon_threads = True

    def __init__(self, answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.asked = answer, []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up on an endless answer is what one test wants."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.asked.append(name)
        self.server.answer(self, name)

    def log_message(self, *arguments: object) -> None: ...


def good(handler: Handler, name: str) -> None:
    send(handler, PACKED[name])


def wrong(handler: Handler, name: str) -> None:
    send(handler, PACKED[name][:-1] + b"\xff")


def gone(handler: Handler, name: str) -> None:
    handler.send_error(404)


def elsewhere(handler: Handler, name: str) -> None:
    handler.send_response(302)
    handler.send_header("Location", f"http://localhost:{handler.server.server_port}/{name}")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def broken_off(handler: Handler, name: str) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(PACKED[name])))
    handler.end_headers()
    handler.wfile.write(PACKED[name][:50])


def endless(handler: Handler, name: str) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(4000):
        handler.wfile.write(bytes(1 << 16))


def send(handler: Handler, payload: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(payload)))
    handler.end_headers()
    handler.wfile.write(payload)


@pytest.fixture
def serve() -> Iterator:
    running = []

    def start(answer) -> Mirror:
        mirror = Mirror(answer)
        thread = threading.Thread(target=mirror.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((mirror, thread))
        return mirror

    yield start
    for mirror, thread in running:
        mirror.shutdown()
        thread.join()
        mirror.server_close()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No folder named, an empty cache, and no proxy between a test and its server."""
    for name in ("GRADWRIGHT_DATA", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache")


def silent(name: str, done: int, total: int) -> None: ...


def origin(*mirrors: Mirror) -> Origin:
    return Origin(tuple(m.url for m in mirrors), PUBLISHED, _spec(), ("http",), 0.0)


def folder_of(path: Path) -> Path:
    path.mkdir(parents=True)
    for name, packed in PACKED.items():
        (path / name).write_bytes(packed)
    return path


def test_download_fills_the_cache_once(serve, tmp_path: Path) -> None:
    mirror = serve(good)
    seen: list[tuple[str, int, int]] = []
    for _ in range(2):
        data = choose("mnist", None, print, lambda *step: seen.append(step), origin(mirror))
    assert mirror.asked == list(PACKED)
    assert len(data.train) == 30
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == sorted(PACKED)
    assert seen[0][0] == FIRST
    assert max(done for name, done, total in seen if name == FIRST) == PUBLISHED[0].size


@pytest.mark.parametrize("first", [wrong, gone, elsewhere, broken_off, endless])
def test_any_failure_leads_to_the_next_mirror(serve, tmp_path: Path, first) -> None:
    bad, right = serve(first), serve(good)
    fetch(PUBLISHED[:1], (bad.url, right.url), tmp_path / "c", silent, schemes=("http",), pause=0)
    assert bad.asked == right.asked == [FIRST]
    assert (tmp_path / "c" / FIRST).read_bytes() == PACKED[FIRST]


REASONS = {
    wrong: "wrong SHA-256",
    gone: "HTTP status 404",
    elsewhere: "a redirect, which is not followed",
    broken_off: "the connection broke off",
    endless: "more than",
}


@pytest.mark.parametrize("answer", REASONS, ids=lambda answer: answer.__name__)
def test_when_no_mirror_can_nothing_is_left(serve, tmp_path: Path, answer) -> None:
    mirror = serve(answer)
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        choose("mnist", None, print, silent, origin(mirror))
    assert f"127.0.0.1:{mirror.server_port}: {REASONS[answer]}" in str(caught.value)
    assert "--data-dir" in str(caught.value)
    assert mirror.asked == [FIRST] * 2
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_second_round_follows_the_last_mirror(serve, tmp_path: Path) -> None:
    def second_time(handler: Handler, name: str) -> None:
        (good if len(mirror.asked) == 2 else gone)(handler, name)

    mirror = serve(second_time)
    fetch(PUBLISHED[:1], (mirror.url,), tmp_path / "c", silent, schemes=("http",), pause=0)
    assert (tmp_path / "c" / FIRST).is_file()


def test_a_damaged_cache_is_fetched_again(serve, tmp_path: Path) -> None:
    (folder_of(tmp_path / "cache") / FIRST).write_bytes(b"cut")
    mirror = serve(good)
    choose("mnist", None, print, silent, origin(mirror))
    assert mirror.asked == [FIRST]


def test_only_tls_is_allowed(serve, tmp_path: Path) -> None:
    mirror = serve(good)
    with pytest.raises(DataError, match=r"(?s)refused.*expected: https.*found: http"):
        fetch(PUBLISHED, (*MIRRORS, mirror.url), tmp_path, silent)
    assert mirror.asked == []
    assert all(url.startswith("https://") for url in MIRRORS)


def test_a_named_folder_is_read_and_nothing_else(
    serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = serve(gone)
    by_option = folder_of(tmp_path / "a")
    by_variable = folder_of(tmp_path / "b" / "mnist")
    monkeypatch.setenv("GRADWRIGHT_DATA", str(by_variable.parent))
    place = origin(mirror)
    assert choose("mnist", by_option, print, silent, place).source == str(by_option)
    assert choose("mnist", None, print, silent, place).source == str(by_variable)
    assert choose("auto", None, print, silent, place).source == str(by_variable)
    assert mirror.asked == []


def test_auto_says_why_and_takes_digits(serve) -> None:
    said: list[str] = []
    data = choose("auto", None, said.append, silent, origin(serve(gone)))
    assert data.name == "digits"
    assert len(said) == 1
    assert "MNIST could not be had" in said[0]
    assert "HTTP status 404" in said[0]
    assert "\n" not in said[0]


def test_auto_in_a_named_folder_never_falls_back(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train-images-idx3-ubyte is missing"):
        choose("auto", tmp_path, print, silent)


@pytest.mark.parametrize("choice", ["auto", "mnist"])
def test_a_named_folder_that_is_not_there(tmp_path: Path, choice: str) -> None:
    with pytest.raises(DataError, match="--data-dir names no folder"):
        choose(choice, tmp_path / "none", print, silent)


def test_a_folder_of_other_images(tmp_path: Path) -> None:
    data = choose(str(folder_of(tmp_path / "mine")), None, print, silent)
    assert (data.name, len(data.test)) == ("folder", 20)


def test_unknown_choice() -> None:
    with pytest.raises(DataError, match="--data cifar is neither auto, mnist, digits nor a folder"):
        choose("cifar", None, print, silent)


def test_cache_that_cannot_be_written(serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    mirror = serve(good)
    with pytest.raises(DataError, match="cache folder cannot be written"):
        fetch(PUBLISHED, (mirror.url,), tmp_path / "file" / "c", silent, schemes=("http",), pause=0)


def test_a_damaged_content_is_refused_even_from_the_cache(serve) -> None:
    spec = replace(_spec(), train_images=replace(_spec().train_images, sha256="0" * 64))
    place = replace(origin(serve(good)), spec=spec)
    with pytest.raises(DataError, match="SHA-256 of the content"):
        choose("mnist", None, print, silent, place)
