"""Mutate every file format that is read, and see that nothing comes of it but a refusal.

    python -m tests.torture.hostile_input                # 100,000 mutations of each; a table
    python -m tests.torture.hostile_input --count 300    # as `make test` does it

Files start intact, then bits, bytes, blocks and numbers in them are changed, cut and repeated, a
few at a time; half of the checkpoints are then signed again, as only a person would. Each is read
in less than a second and in memory of at most twice its size, unpacked, besides 512 KiB; a picture
in 64 MiB. The work is done in forked processes, so that a crash of a library is counted.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import sys
import tempfile
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.torture.readers import READERS, Reader, resigned

SLICE = 5_000
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1)
Mutate = Callable[[bytearray, random.Random], None]


def flip(raw: bytearray, draw: random.Random) -> None:
    raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)


def overwrite(raw: bytearray, draw: random.Random) -> None:
    raw[draw.randrange(len(raw))] = draw.randrange(256)


def number(raw: bytearray, draw: random.Random) -> None:
    """A large or small number where perhaps a size stands."""
    width, order = draw.choice((1, 2, 4, 8)), draw.choice(("big", "little"))
    at = draw.randrange(min(len(raw), 64) if draw.random() < 0.7 else len(raw))
    raw[at : at + width] = (draw.choice(NUMBERS) % 256**width).to_bytes(width, order)


def cut(raw: bytearray, draw: random.Random) -> None:
    del raw[draw.randrange(len(raw)) :]


def drop(raw: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(raw))
    del raw[at : at + draw.randrange(1, 30)]


def repeat(raw: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(raw))
    raw[at:at] = raw[at : at + draw.randrange(1, 60)] * draw.choice((1, 2, 20))


def digits(raw: bytearray, draw: random.Random) -> None:
    """Another number where the file has one as text."""
    places = [i for i, byte in enumerate(raw) if 0x30 <= byte <= 0x39]
    if places:
        at = draw.choice(places)
        raw[at : at + 1] = draw.choice((b"-1", b"1e999", b"99999999999999999999", b"null", b"[]"))


def words(raw: bytearray, draw: random.Random) -> None:
    """Text that means something to a parser."""
    at = draw.randrange(len(raw))
    raw[at:at] = draw.choice((b'"', b"{", b"}", b"[" * 2000, b",", b"\0", b"\n", b"\xff", b"NaN"))


MUTATIONS: tuple[Mutate, ...] = (flip, flip, overwrite, number, cut, drop, repeat, digits, words)


def mutated(reader: Reader, draw: random.Random) -> bytes:
    """One file, changed in one to four ways."""
    intact = draw.choice(reader.intact())
    inside = intact.startswith(b"\x1f\x8b") and draw.random() < 0.5
    raw = bytearray(gzip.decompress(intact) if inside else intact)
    for _ in range(draw.choice((1, 1, 2, 4))):
        if raw:
            draw.choice(MUTATIONS)(raw, draw)
    made = gzip.compress(bytes(raw), 1, mtime=0) if inside else bytes(raw)
    if reader.digest and len(made) > 8 and draw.random() < 0.5:
        made = resigned(made)
    return made


def unpacked(raw: bytes) -> int:
    """How large the file is, or what is in it where it is packed."""
    if not raw.startswith(b"\x1f\x8b"):
        return len(raw)
    decoder = zlib.decompressobj(wbits=31)
    try:
        return max(len(raw), len(decoder.decompress(raw, 2**26)))
    except zlib.error:
        return 2**16 + len(raw)


def attempt(reader: Reader, raw: bytes, folder: Path, found: Counter[str], measured: bool) -> None:
    """Read one file and count what came of it."""
    if measured:
        tracemalloc.start()
    began = time.process_time()
    try:
        refused = reader.try_bytes(raw, folder)
        found["refused" if refused else "accepted"] += 1
        if raw in reader.intact():
            found["intact"] += 1
    except BaseException as error:
        found[f"FAILED {type(error).__name__}: {error}"[:160]] += 1
        keep(reader, raw)
    if time.process_time() - began > 1.0:
        found["FAILED: longer than a second"] += 1
        keep(reader, raw)
    if measured:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        found["measured"] += 1
        if peak > 2 * unpacked(raw) + reader.room:
            found[f"FAILED: {peak} bytes of memory for {unpacked(raw)}"] += 1
            keep(reader, raw)


def keep(reader: Reader, raw: bytes) -> None:
    """Files that failed, for a look at them."""
    folder = os.environ.get("KEEP_FAILURES")
    if folder:
        Path(folder, f"{abs(hash(raw))}-{reader.name}").write_bytes(raw)


def slice_of(reader: Reader, seed: int, count: int) -> Counter[str]:
    """So many mutations in a process of their own; a crash of it is a failure by itself."""
    receiving, sending = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(receiving)
        draw, found = random.Random(seed), Counter[str]()
        with tempfile.TemporaryDirectory(dir=shared_memory()) as folder:
            for n in range(count):
                attempt(reader, mutated(reader, draw), Path(folder), found, n % 10 == 0)
        os.write(sending, json.dumps(found)[:60_000].encode())
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as stream:
        said = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Counter(json.loads(said)) if code == 0 else Counter({f"FAILED: exit code {code}": 1})


def shared_memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main() -> int:
    """The exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(description="mutate files")
    parser.add_argument("--count", type=int, default=100_000, help="mutations of each format")
    parser.add_argument("--format", choices=READERS, action="append")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    said = parser.parse_args()
    print(f"seed {said.seed}\n")
    print("| format | mutations | refused | accepted (intact) | memory measured | failed |")
    print("|---|---|---|---|---|---|")
    bad = 0
    for name in said.format or READERS:
        found: Counter[str] = Counter()
        for start in range(0, said.count, SLICE):
            found += slice_of(READERS[name], said.seed + start, min(SLICE, said.count - start))
        failures = {what: n for what, n in found.items() if what.startswith("FAILED")}
        bad += sum(failures.values())
        accepted = f"{found['accepted']} ({found['intact']})"
        row = (name, said.count, found["refused"], accepted, found["measured"])
        print("|", *(f"{cell} |" for cell in (*row, sum(failures.values()))), flush=True)
        for what, n in failures.items():
            print(f"{n} x {what}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
