"""Compile one C file and load it: for measuring. Emitted modules build themselves.

library = built(Path("machine.c"), ["-O3", "-march=native"])
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from ir.errors import BuildError


def compiler() -> list[str]:
    """The command of the C compiler: $CC, or the first of cc, gcc, clang; empty if none."""
    named = os.environ.get("CC")
    candidates = [shlex.split(named)] if named else [["cc"], ["gcc"], ["clang"]]
    return next((c for c in candidates if c and shutil.which(c[0])), [])


def built(source: Path, flags: list[str]) -> ctypes.CDLL:
    """The library of a C file, its own folder searched for what it includes.

    A compiler that does not know -march=native is asked again without. Raises BuildError.
    """
    if not compiler():
        raise BuildError("no C compiler found", fix="install gcc or clang, or name one with CC")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"{source.stem}.so"
        for tried in (flags, [f for f in flags if f != "-march=native"]):
            command = [*compiler(), "-std=c99", *tried, "-shared", "-fPIC", str(source)]
            done = subprocess.run(
                [*command, "-o", str(made), "-lm"], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return ctypes.CDLL(str(made))
    raise BuildError(f"the C compiler refused {source.name}", notes=(done.stderr.strip()[:2000],))
