"""C programs that call every public function of emitted modules, each array in exact memory.

    drive = Drive(module, folder)        # NAME.c, NAME.h, drive_NAME.c and drive.h, written
    made = program([drive], ["gcc", "-O2"])
    results = drive.results(run(made))   # {"forward.logits": ..., "grads.fc1.W": ..., ...}

A program initialises, runs forward and value_and_grad on a full batch and a single row, trains for
STEPS steps (3, or -DSTEPS=n) and for an epoch with a short last batch, asks for each error, and
writes all results as raw bytes. It needs nothing but C99, so it runs under sanitizers, emulators
and guard pages (-DGUARD=1 behind every array, -DGUARD=2 before it).
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from codegen.c.assemble import make_view
from codegen.c.emit import emit
from codegen.c.views import ArrayView, ModuleView
from compiler.schedule import loop_nest
from ir.kernel import Module

HERE = Path(__file__).resolve().parent
_TEMPLATES = Environment(
    loader=FileSystemLoader(HERE),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True, slots=True)
class Said:
    """One array of what a program writes."""

    name: str
    dtype: str
    count: int


class Drive:
    """A module written to a folder, with the file that drives it."""

    def __init__(self, module: Module, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in emit(module, loop_nest).items():
            (folder / name).write_text(text, encoding="utf-8")
        self.view = make_view(module, loop_nest)
        self.name = self.view.name
        text = _TEMPLATES.get_template("drive.c.jinja").render(m=self.view)
        (folder / f"drive_{self.name}.c").write_text(text, encoding="utf-8")
        shutil.copy(HERE / "drive.h", folder)

    @property
    def files(self) -> list[Path]:
        """The emitted source, then what calls it."""
        return [self.folder / f"{self.name}.c", self.folder / f"drive_{self.name}.c"]

    def results(self, output: bytes, order: str = "<") -> dict[str, np.ndarray]:
        """The arrays by name, out of what a machine with this order of bytes wrote."""
        found, at = {}, 0
        for said in layout(self.view):
            kind = np.dtype(said.dtype).newbyteorder(order)
            values = np.frombuffer(output, kind, said.count, at)
            at += said.count * kind.itemsize
            found[said.name] = values.astype(said.dtype)
        assert at == len(output), (self.name, at, len(output))
        return found


def layout(view: ModuleView) -> list[Said]:
    """What drive.c.jinja writes, in its order."""

    def arrays(what: str, views: tuple[ArrayView, ...], rows: int = 1) -> list[Said]:
        return [Said(f"{what}.{a.name}", a.dtype, _count(a.count, rows)) for a in views]

    real = {"float": "float32", "double": "float64"}[view.real]
    both = (view.max_batch, 1) if view.max_batch > 1 else (1,)
    graded = tuple(p for p in view.parameters if p.name in view.gradient_names)
    said = arrays("init", view.parameters)
    for rows in both if view.forward else ():
        said += arrays(f"forward({rows})", view.outputs, rows)
    for rows in both if view.gradient else ():
        said += [Said(f"loss({rows})", real, 1), *arrays(f"grads({rows})", graded)]
    if view.step:
        said += [Said("step loss", real, 1)]
        said += arrays("stepped", view.parameters) + arrays("state", view.state)
        said += [Said("epoch losses", "float64", 2)] + arrays("after epoch", view.parameters)
    return said


def _count(text: str, rows: int) -> int:
    """`rows * 784` for so many rows."""
    product = 1
    for factor in text.split(" * "):
        product *= rows if factor == "rows" else int(factor)
    return product


def program(
    drives: list[Drive], command: list[str], *, threads: int = 0, built: Path | None = None
) -> Path:
    """All the drives in one program, built in the first one's folder.

    With `threads`, each drive runs in so many at once, and once is written if all said the same.
    `built` is an object file that takes the place of the (only) emitted source.
    """
    folder = drives[0].folder
    main = folder / "main.c"
    names = [d.name for d in drives]
    text = _TEMPLATES.get_template("drive_main.c.jinja").render(names=names, threads=threads)
    main.write_text(text, encoding="utf-8")
    files = [str(f) for d in drives for f in ([built, d.files[1]] if built else d.files)]
    made = folder / "program"
    flags = [*command, "-std=c99", *(["-pthread"] if threads else [])]
    subprocess.run([*flags, str(main), *files, "-o", str(made), "-lm"], check=True)
    return made


def run(made: Path, emulator: tuple[str, ...] = ()) -> bytes:
    """What the program writes; AssertionError with its complaint if it fails."""
    done = subprocess.run([*emulator, str(made)], capture_output=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr.decode()[:3000])
    return done.stdout


def digest(results: dict[str, np.ndarray]) -> str:
    """One digest of all results, whatever the order of bytes."""
    whole = sha256()
    for name, values in results.items():
        whole.update(name.encode() + values.astype(values.dtype.newbyteorder("<")).tobytes())
    return whole.hexdigest()[:16]
