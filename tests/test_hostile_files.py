"""Some hundred mutations of each file that is read, and files that fuzzing found worth keeping.

The long version is `python -m tests.torture.hostile_input`; tests/corpus holds small files that a
coverage-guided fuzzer (tests/torture/fuzz_readers.py) kept because each takes a way of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from gradwright.training.checkpoint import load
from gradwright.training.idx import read_idx
from gradwright.training.picture_file import PIXELS, read_digit
from ir.errors import CheckpointError, DataError
from tests.torture.readers import IMAGES, READERS, rewritten

ROOT = Path(__file__).resolve().parent.parent
CORPUS = Path(__file__).with_name("corpus")


@pytest.mark.parametrize("name", READERS)
def test_intact_files_are_read(name: str, tmp_path: Path) -> None:
    for raw in READERS[name].intact():
        assert READERS[name].try_bytes(raw, tmp_path) is None


def test_mutations_do_nothing_but_refuse() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.torture.hostile_input", "--count", "400"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(READERS)
    assert all(int(row.split("|")[3]) > 100 for row in rows), "hardly anything was refused"


@pytest.mark.parametrize("name", sorted(p.name for p in CORPUS.iterdir()))
def test_what_fuzzing_found_stays_harmless(name: str, tmp_path: Path) -> None:
    files = sorted((CORPUS / name).iterdir())
    assert files
    for file in files:
        READERS[name].try_bytes(file.read_bytes(), tmp_path)


# ---------------------------------------------------------------- bombs


def peak(action) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def zeros(count: int, start: bytes) -> bytes:
    """A gzip file of some bytes, then so many zeros."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(start)]
    parts += [packer.compress(bytes(2**20)) for _ in range(count // 2**20)]
    return b"".join([*parts, packer.flush()])


def header(*shape: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)


def test_a_bomb_is_stopped_at_what_its_header_declares(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(zeros(2**27, header(2, 3, 4)))

    def read() -> None:
        with pytest.raises(DataError, match="decompressed size"):
            read_idx(path, IMAGES)

    assert peak(read) < 2**20


@pytest.mark.parametrize("shape", [(2**16, 2**8, 2**7), (2**31, 2, 2), (2**32 - 1,) * 3])
def test_a_header_that_promises_too_much_allocates_nothing(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    """A gzip stream can unpack to 1,032 times its size, and no further."""
    packed = zeros(0, header(*shape) + bytes(99))
    for name, raw in (("images.gz", packed), ("images", header(*shape))):
        path = tmp_path / name
        path.write_bytes(raw)

        def read(path: Path = path) -> None:
            with pytest.raises(DataError):
                read_idx(path, IMAGES)

        assert peak(read) < 2**20


def test_a_small_file_of_a_large_data_set_is_refused(tmp_path: Path) -> None:
    """268 MB of the same black pixel in 260 kB: nobody trains on that."""
    path = tmp_path / "images.gz"
    path.write_bytes(zeros(2**28, header(2**12, 2**8, 2**8)))

    def read() -> None:
        with pytest.raises(DataError, match="at most 100 times the file's"):
            read_idx(path, IMAGES)

    assert peak(read) < 2**20


@pytest.mark.parametrize(
    ("dtype", "shape", "end"),
    [
        ("F32", [2**31, 2**33], 0), ("F32", [2**62, 4], 0), ("U8", [2**63], 2**63),
        ("F32", [-1], 4), ("F32", [1.5], 4), ("F64", [3], 12), ("F8", [4], 4), ("F32", [], 8),
        ("F32", [4, 0], 4), ("X", [1], 4), ("F32", "4", 4), ("F32", [[4]], 4),
    ],
)  # fmt: skip
def test_shapes_that_overflow_are_refused(
    dtype: str, shape: object, end: int, tmp_path: Path
) -> None:
    def change(file: dict) -> None:
        file["b"] = {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}

    path = tmp_path / "c"
    path.write_bytes(rewritten(READERS["checkpoint"].intact()[1], change))
    with pytest.raises(CheckpointError, match="not an intact"):
        load(path)


def test_tensors_may_not_share_bytes(tmp_path: Path) -> None:
    def change(file: dict) -> None:
        file["c"] = dict(file["b"])

    path = tmp_path / "c"
    path.write_bytes(rewritten(READERS["checkpoint"].intact()[1], change))
    with pytest.raises(CheckpointError, match="not an intact"):
        load(path)


def test_a_chunk_that_promises_4_gb_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes((CORPUS / "picture" / "chunk-of-4-GB").read_bytes())
    assert peak(lambda: read_digit(path, 28, 20)) < 2**20


def test_a_picture_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "a.png"
    Image.new("1", (PIXELS // 1000 + 1, 1000)).save(path)
    assert path.stat().st_size < 2**16

    def read() -> None:
        with pytest.raises(DataError, match=f"more than {PIXELS}"):
            read_digit(path, 28, 20)

    assert peak(read) < 2**20
    large = np.full((3000, 3000), 255, np.uint8)
    large[500:2500, 1400:1600] = 0
    Image.fromarray(large).save(path)
    assert read_digit(path, 28, 20).shape == (28, 28)
