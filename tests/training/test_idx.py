"""Damaged data folders, one for each way in which others let one through, and every refusal."""

from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradwright.training import idx, mnist
from gradwright.training.image_folder import FREE, FolderSpec, read_folder
from ir.errors import DataError

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
COUNTS = {IMAGES: 60, LABELS: 60, TEST_IMAGES: 20, TEST_LABELS: 20}


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    sizes = b"".join(struct.pack(">I", size) for size in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.tobytes()


def content(stem: str) -> bytes:
    draw = np.random.default_rng(len(stem))
    if "labels" in stem:
        return idx_bytes((np.arange(COUNTS[stem]) % 10).astype(np.uint8))
    return idx_bytes(draw.integers(0, 256, (COUNTS[stem], 28, 28), np.uint8))


def pinned() -> FolderSpec:
    """MNIST's own specification, with the sizes and digests of the small stand-in."""
    files = []
    for spec in mnist.MNIST.files:
        digest = hashlib.sha256(content(spec.stem)).hexdigest()
        files.append(replace(spec, shape=(COUNTS[spec.stem], *spec.shape[1:]), sha256=digest))
    return FolderSpec("mnist", *files, white=255.0, classes=10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for stem in COUNTS:
        (tmp_path / f"{stem}.gz").write_bytes(gzip.compress(content(stem), mtime=0))
    return tmp_path


def put(folder: Path, stem: str, raw: bytes, packed: bool = True) -> None:
    """Replace one file, by a gzip file or by a plain one."""
    (folder / f"{stem}.gz").unlink()
    if packed:
        (folder / f"{stem}.gz").write_bytes(gzip.compress(raw, mtime=0))
    else:
        (folder / stem).write_bytes(raw)


def changed(stem: str, at: int, values: bytes) -> bytes:
    raw = bytearray(content(stem))
    raw[at : at + len(values)] = values
    return bytes(raw)


def truncated_gzip(folder: Path) -> None:
    path = folder / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:-20])


def damaged_gzip(folder: Path) -> None:
    path = folder / f"{LABELS}.gz"
    raw = bytearray(path.read_bytes())
    raw[-6] ^= 1
    path.write_bytes(bytes(raw))


def second_member(folder: Path) -> None:
    path = folder / f"{LABELS}.gz"
    path.write_bytes(path.read_bytes() + gzip.compress(b"more"))


def trailing_bytes(folder: Path) -> None:
    path = folder / f"{LABELS}.gz"
    path.write_bytes(path.read_bytes() + b"more")


def gzip_under_the_plain_name(folder: Path) -> None:
    (folder / f"{IMAGES}.gz").rename(folder / IMAGES)


def plain_under_the_gzip_name(folder: Path) -> None:
    (folder / f"{IMAGES}.gz").write_bytes(content(IMAGES))


def html_page(folder: Path) -> None:
    (folder / f"{IMAGES}.gz").write_bytes(b"<!DOCTYPE html><html>404 not found</html>")


def empty_file(folder: Path) -> None:
    (folder / f"{IMAGES}.gz").write_bytes(b"")


def missing_file(folder: Path) -> None:
    (folder / f"{TEST_LABELS}.gz").unlink()


def bomb(folder: Path) -> None:
    raw = content(LABELS) + bytes(64 * 2**20)
    put(folder, LABELS, raw)


def folder_instead(folder: Path) -> None:
    (folder / f"{IMAGES}.gz").unlink()
    (folder / IMAGES).mkdir()


SMALL = np.zeros((60, 14, 56), np.uint8)
FEW = np.zeros(50, np.uint8)
# What happens to the folder, what the refusal names, and what it found.
DAMAGE = {
    "truncated gzip": (truncated_gzip, IMAGES, "its end is missing"),
    "damaged gzip": (damaged_gzip, LABELS, "incorrect data check"),
    "second gzip member": (second_member, LABELS, "a second gzip member"),
    "bytes after the gzip": (trailing_bytes, LABELS, "more bytes"),
    "gzip under the plain name": (gzip_under_the_plain_name, IMAGES, "gzip data"),
    "plain under the gzip name": (plain_under_the_gzip_name, IMAGES, "a plain IDX file"),
    "HTML page": (html_page, IMAGES, "an HTML page"),
    "empty file": (empty_file, IMAGES, "an empty file"),
    "missing file": (missing_file, TEST_LABELS, "neither"),
    "a folder in its place": (folder_instead, IMAGES, "neither"),
    "bomb": (bomb, LABELS, "at least 69 bytes"),
    "truncated plain": (
        lambda f: put(f, IMAGES, content(IMAGES)[:-1], packed=False), IMAGES, "47055 bytes",
    ),
    "oversized plain": (
        lambda f: put(f, IMAGES, content(IMAGES) + b"x", packed=False), IMAGES, "47057 bytes",
    ),
    "short content": (lambda f: put(f, IMAGES, content(IMAGES)[:-1]), IMAGES, "47039 bytes"),
    "short header": (lambda f: put(f, IMAGES, content(IMAGES)[:9]), IMAGES, "9 bytes"),
    "no header": (lambda f: put(f, IMAGES, b"\0\0"), IMAGES, "2 bytes"),
    "first bytes": (lambda f: put(f, IMAGES, changed(IMAGES, 0, b"\1")), IMAGES, "01 00"),
    "type byte": (lambda f: put(f, IMAGES, changed(IMAGES, 2, b"\7")), IMAGES, "found: 07"),
    "no dimension": (lambda f: put(f, LABELS, b"\0\0\x08\0"), LABELS, "found: 0"),
    "too few dimensions": (lambda f: put(f, IMAGES, content(LABELS)), IMAGES, "found: 1"),
    "no image": (lambda f: put(f, IMAGES, changed(IMAGES, 4, bytes(4))), IMAGES, "found: 0"),
    "sizes that overflow": (
        lambda f: put(f, IMAGES, changed(IMAGES, 4, b"\xff" * 12)), IMAGES, "found: ",
    ),
    "fewer labels than images": (lambda f: put(f, LABELS, idx_bytes(FEW)), LABELS, "found: 50"),
}
# These are well-formed, so only what MNIST pins refuses them.
PINNED_DAMAGE = {
    "flipped pixel": (
        lambda f: put(f, IMAGES, changed(IMAGES, 5000, b"\x55\xaa")), IMAGES, "SHA-256",
    ),
    "label 77": (lambda f: put(f, LABELS, changed(LABELS, 20, b"\x4d")), LABELS, "SHA-256"),
    "images of 14x56": (lambda f: put(f, IMAGES, idx_bytes(SMALL)), IMAGES, "found: 14"),
}


@pytest.mark.parametrize("spec", [pinned(), FREE], ids=["pinned", "free"])
def test_reads_gzip_and_plain(folder: Path, spec: FolderSpec) -> None:
    put(folder, IMAGES, content(IMAGES), packed=False)
    data = read_folder(folder, spec)
    assert data.train.images.shape == (60, 28, 28)
    assert data.train.images.tobytes() == content(IMAGES)[16:]
    assert data.test.labels.tolist() == [n % 10 for n in range(20)]
    assert data.white == 255.0


@pytest.mark.parametrize("spec", [pinned(), FREE], ids=["pinned", "free"])
@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_refused(folder: Path, spec: FolderSpec, case: str) -> None:
    damage, stem, found = DAMAGE[case]
    refused(folder, spec, damage, stem, found)


@pytest.mark.parametrize("case", PINNED_DAMAGE)
def test_pinned_damage_is_refused(folder: Path, case: str) -> None:
    damage, stem, found = PINNED_DAMAGE[case]
    refused(folder, pinned(), damage, stem, found)


def refused(folder: Path, spec: FolderSpec, damage, stem: str, found: str) -> None:
    damage(folder)
    before = sorted(folder.iterdir())
    with pytest.raises(DataError) as caught:
        read_folder(folder, spec)
    message = str(caught.value)
    assert stem in message
    assert found in message
    assert "expected: " in message
    assert "found: " in message
    assert sorted(folder.iterdir()) == before


def test_label_out_of_range_names_its_place(folder: Path) -> None:
    put(folder, LABELS, changed(LABELS, 8 + 12, b"\x4d"))
    with pytest.raises(DataError, match=r"label number 12(.|\n)*below 10(.|\n)*found: 77"):
        read_folder(folder, replace(FREE, classes=10))


def test_declared_size_is_capped_before_allocation(tmp_path: Path) -> None:
    spec = idx.IdxSpec("big", ("a", "b", "c"), (None, None, None))
    path = tmp_path / "big"
    path.write_bytes(b"\0\0\x08\3" + b"\xff" * 12)
    with pytest.raises(DataError, match=f"at most {idx.MAX_BYTES} bytes"):
        idx.read_idx(path, spec)


@pytest.mark.parametrize(
    ("code", "dtype"), [(0x08, "u1"), (0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"),
                        (0x0E, ">f8")],
)
def test_every_type_is_read_in_native_order(tmp_path: Path, code: int, dtype: str) -> None:
    values = np.array([[1, 2, 3], [4, 5, 100]], dtype)
    path = tmp_path / "values.gz"
    path.write_bytes(gzip.compress(idx_bytes(values, code)))
    read = idx.read_idx(path, idx.IdxSpec("values", ("rows", "columns"), (None, 3)))
    assert read.tolist() == values.tolist()
    assert read.dtype.isnative


def test_nan_pixels_are_refused(folder: Path) -> None:
    values = np.full((60, 28, 28), np.nan, ">f4")
    put(folder, IMAGES, idx_bytes(values, 0x0D))
    with pytest.raises(DataError, match="finite numbers"):
        read_folder(folder, FREE)


def test_verify_reports_every_file(folder: Path) -> None:
    html_page(folder)
    missing_file(folder)
    reports = mnist.verify(folder, pinned())
    assert [report.problem is None for report in reports] == [False, True, True, False]
    assert reports[1].shape == (60,)
