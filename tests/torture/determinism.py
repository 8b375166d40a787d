"""The same text from every interpreter, the same bits from every compiler: two tables.

    python -m tests.torture.determinism
    python -m tests.torture.determinism --python 3.12/bin/python --python 3.13/bin/python

Text: both targets of every specimen, emitted by processes that differ in hash seed, locale, time
zone, folder and Python, as one digest. `--python` names interpreters with the same libraries.
Bits: 100 training steps in the portable build, by gcc and clang at every level, for any machine and
for this one, as one digest of every result; and the fast build, run twice. Other architectures:
tests/torture/architectures.py. Exit code 1 if two digests differ that should not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from codegen.c.assemble import FAST_FLAGS, PORTABLE_FLAGS
from tests.targets.drive import Drive, digest, program, run
from tests.targets.emitted_c import COMPILERS
from tests.targets.specimens import REFERENCES, SPECIMENS, Specimen

ROOT = Path(__file__).resolve().parents[2]
LEVELS = ("-O0", "-O1", "-O2", "-O3", "-O3 -march=native")
TEXT = """
import hashlib, sys
from tests.targets.specimens import SPECIMENS
whole = hashlib.sha256()
for specimen in SPECIMENS:
    if specimen.name in sys.argv[1:] or len(sys.argv) == 1:
        for name, text in specimen.texts().items():
            whole.update(name.encode() + text.encode())
print(whole.hexdigest()[:16])
"""
SURROUNDINGS = {
    "hash seed 0": {"PYTHONHASHSEED": "0"},
    "hash seed 20, in Turkey": {
        "PYTHONHASHSEED": "20", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8",
        "TZ": "Asia/Istanbul",
    },
    "hash seed random, C locale, no UTF-8": {
        "PYTHONHASHSEED": "random", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
        "TZ": "Pacific/Chatham", "COLUMNS": "40",
    },
}  # fmt: skip


def text_digest(python: str, surroundings: dict[str, str], folder: Path, *names: str) -> str:
    """What a process of its own says of the text of some specimens, or of all."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON"))}
    environment = kept | surroundings | {"PYTHONPATH": str(ROOT)}
    command = [python, "-c", TEXT, *names]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def bits(drive: Drive, command: str, flags: str, steps: int) -> str:
    """The digest of every result after so many steps."""
    kept = [f for f in flags.split() if f != "-O3"]
    return digest(
        drive.results(run(program([drive], [*command.split(), *kept, f"-DSTEPS={steps}"])))
    )


def portable(specimen: Specimen, dtype: str, folder: Path) -> dict[str, str]:
    drive = Drive(specimen.module(dtype=dtype, portable=True), folder)
    commands = [f"{c} {level}" for c in COMPILERS for level in LEVELS]
    return {command: bits(drive, command, PORTABLE_FLAGS, 100) for command in commands}


def again(specimen: Specimen, dtype: str, folder: Path) -> dict[str, str]:
    """The fast build twice; the second time every array lies elsewhere."""
    drive = Drive(specimen.module(dtype=dtype), folder)
    return {
        f"fast build, {where or 'malloc'}": bits(drive, f"gcc -O3 {where}", FAST_FLAGS, 20)
        for where in ("", "-DGUARD=1", "-DGUARD=2")
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--python", action="append", default=[], help="another interpreter")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as base:
        print("| emitted by | in | digest of the text |\n|---|---|---|")
        found = set()
        for python in [sys.executable, *options.python]:
            version = subprocess.run([python, "--version"], capture_output=True, text=True).stdout
            for name, surroundings in SURROUNDINGS.items():
                found.add(said := text_digest(python, surroundings, Path(base)))
                print(f"| {version.strip()} | {name} | {said} |", flush=True)
        wrong += len(found) != 1
        print("\n| network | type | builds | digests of the bits |\n|---|---|---|---|")
        for number, specimen in enumerate(s for s in SPECIMENS if s.name in REFERENCES):
            for dtype in ("float32", "float64"):
                for kind in (portable, again):
                    said = kind(specimen, dtype, Path(base) / f"{number}-{dtype}-{kind.__name__}")
                    wrong += len(set(said.values())) != 1
                    row = (specimen.id, dtype, f"{kind.__name__}, {len(said)}")
                    print(
                        f"| {' | '.join(row)} | {', '.join(sorted(set(said.values())))} |",
                        flush=True,
                    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
