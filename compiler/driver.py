"""From a network to an imported module: trace, run the pipeline, emit, write, import.

    model = compile(mnist_mlp, target="c", batch=128, optimizer=sgd(lr=0.1), out="generated")

Files are written whole or not at all: every text is made before the first file is touched, and each
file replaces an older one in one step. This is the only file of the compiler that knows `codegen`.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from compiler.freeze import freeze as fixed
from compiler.network import Network
from compiler.optimizers import Optimizer, sgd
from compiler.pipeline import module, stage
from compiler.rotation import rotated
from compiler.schedule import loop_nest
from ir.errors import BuildError, InputError, OutputError, bounded_depth
from ir.kernel import Loop, Module, Schedule
from ir.program import Program
from ir.text import equation, show

VERSION = "0.1.0"
PLAIN = sgd(lr=0.01)  # where no optimizer is given
OBJECTS = 50_000  # new ones, before Python looks for cycles among them


def compile(
    network: Network,
    *,
    target: Literal["c", "numpy"] = "c",
    batch: int = 128,
    dtype: str | None = None,
    optimizer: Optimizer | None = None,
    out: str | os.PathLike[str] = "generated",
    threads: int = 1,
    portable: bool = False,
    freeze: Collection[str] = (),
) -> ModuleType:
    """Emit a network as standalone source into the folder `out`, and import it.

        model = gw.compile(mnist_mlp, target="numpy", batch=128, optimizer=gw.sgd(lr=0.1))

    `batch` is the largest number of rows a call may pass. `dtype` overrides the floating type.
    Target "c" writes NAME.c, NAME.h and NAME_c.py and builds them; "numpy" writes NAME_numpy.py.
    `portable` gives C whose bits are the same on every machine and compiler; `threads` how many may
    share the work in C, by OpenMP, with the bits of one. `freeze` names parameters, or layers, that
    do not train: no gradient is computed for them. Raises a GradwrightError for a mistake in the
    network or an option; then nothing is written.
    """
    files = emit(
        network,
        target=target,
        batch=batch,
        dtype=dtype,
        optimizer=optimizer,
        threads=threads,
        portable=portable,
        freeze=freeze,
    )
    folder = Path(out)
    write(files, folder)
    return load(folder / next(name for name in files if name.endswith(".py")))


def emit(
    network: Network,
    *,
    target: str = "c",
    batch: int = 128,
    dtype: str | None = None,
    optimizer: Optimizer | None = None,
    threads: int = 1,
    portable: bool = False,
    freeze: Collection[str] = (),
) -> dict[str, str]:
    """The emitted files by name, nothing written: what `compile` puts into its folder."""
    if target not in ("c", "numpy"):
        raise InputError(f"no target {target!r}", fix='use "c" or "numpy"')
    with bounded_depth(network.origin), _few_collections():
        made = lowered(
            network,
            batch=batch,
            dtype=dtype,
            optimizer=optimizer,
            threads=threads,
            portable=portable,
            freeze=freeze,
        )
        return _emitted(made, target)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Python looks for cycles less often: SymPy's trees have few, and looking took a tenth."""
    before = gc.get_threshold()
    gc.set_threshold(before[0] and max(before[0], OBJECTS), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _emitted(made: Module, target: str) -> dict[str, str]:
    """Only the target that is asked for is imported: the other one's templates are not needed."""
    if target == "numpy":
        from codegen.numpy.emit import emit as emit_numpy

        return emit_numpy(made)
    from codegen.c.emit import emit as emit_c

    rotation = rotated(made.step) if made.step and made.threads == 1 else None
    return emit_c(made, loop_nest, rotation)


def lowered(
    network: Network,
    *,
    batch: int,
    dtype: str | None = None,
    optimizer: Optimizer | None = None,
    threads: int = 1,
    portable: bool = False,
    freeze: Collection[str] = (),
) -> Module:
    """The scheduled module of a network, before a target is chosen."""
    for name, value in (("batch", batch), ("threads", threads)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a positive integer, got {value!r}")
    program, depends_on_mode = network.traced(dtype=dtype, batch=batch)
    program = fixed(program, freeze)
    in_use = network.trace(dtype=dtype, batch=batch, training=False) if depends_on_mode else None
    return _module(program, optimizer or PLAIN, in_use, portable, threads)


_last: tuple[Any, Module] | None = None


def _module(
    program: Program, rule: Optimizer, in_use: Program | None, portable: bool, threads: int
) -> Module:
    """The last module again if it was made of the same: so two targets share one run of passes."""
    global _last
    key = (program, rule, in_use, portable, threads)
    last = _last
    if last is not None and last[0] == key:
        return last[1]
    made = module(
        program,
        rule,
        content_hash=content_hash(program, rule),
        version=VERSION,
        in_use=in_use,
        portable=portable,
        threads=threads,
    )
    _last = key, made
    return made


def content_hash(program: Program, optimizer: Optimizer) -> str:
    """What the network computes, as a digest that no path, batch limit or line number changes."""
    inits = [repr((t.name, t.init)) for t in program.parameters]
    lines = [equation(d) for d in program.definitions]
    owned = [repr((t.name, str(t.shape), t.dtype, t.trainable)) for t in program.tensors().values()]
    text = "\n".join(
        [VERSION, program.name, *owned, *inits, *lines, repr((optimizer.name, optimizer.hyper))]
    )
    return hashlib.sha256(text.encode()).hexdigest()


def lower_to_text(network: Network, *, stop_after: str = "lower", batch: int = 128) -> str:
    """The IR as text after a pass of `gw.PASSES`: what `inspect --stop-after PASS` prints."""
    program = network.trace(batch=batch)
    found = stage(program, stop_after, PLAIN)
    if stop_after != "fuse":
        return show(found.program)
    made = lowered(network, batch=batch)
    last = made.step or made.gradient or made.forward
    return show(found.program) if last is None else _kernels_text(last)


def _kernels_text(schedule: Schedule) -> str:
    """A line a kernel and a line a member; what is written to memory is marked `store`."""
    lines = []
    for step in schedule.steps:
        kernels = step.kernels if isinstance(step, Loop) else (step,)
        if isinstance(step, Loop):
            lines.append(f"loop {step.index} < {step.size}{' downwards' if step.downwards else ''}")
        for kernel in kernels:
            space = ", ".join(f"{r.index} < {r.size}" for r in kernel.space)
            lines.append(f"kernel {kernel.name} for {space or 'one point'}")
            for m in kernel.members:
                lines.append(f"  {'store' if m.name in kernel.stored else '     '} {equation(m)}")
    lines.append(
        f"{schedule.workspace_bytes} bytes of workspace "
        f"for {schedule.temporaries_bytes} bytes of temporaries"
    )
    return "\n".join(lines) + "\n"


def write(files: dict[str, str], folder: Path) -> None:
    """Write every file by way of a temporary name, so that none is ever seen half written."""
    pending: list[tuple[Path, Path]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            handle, path = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".tmp")
            temporary = Path(path)
            pending.append((temporary, folder / name))
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
            temporary.chmod(0o644)
        for temporary, final in pending:
            temporary.replace(final)
            _forget_bytecode(final)
    except BaseException as error:
        for temporary, _ in pending:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(
                f"cannot write to {folder}: {error.strerror or error}",
                fix="choose another folder with out= or --out",
            ) from None
        raise


def _forget_bytecode(path: Path) -> None:
    """Python takes what it compiled for the same second and size to be of the same text."""
    if path.suffix == ".py":
        with suppress(OSError):
            Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def load(path: Path) -> ModuleType:
    """Import an emitted Python file by its path."""
    resolved = path.resolve()
    digest = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:12]
    name = f"gradwright_generated_{digest}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise OutputError(f"cannot import {path}")
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    try:
        spec.loader.exec_module(made)
    except (OSError, RuntimeError, MemoryError) as error:
        del sys.modules[name]
        raise BuildError(str(error)) from None
    return made
