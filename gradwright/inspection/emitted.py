"""The kernels that a network ended in, and where they stand in the emitted source.

    found = emitted(mnist_mlp, batch=128)
    found.kernel_of("d_fc1.W").c.first          # the line of mnist_mlp.c where its kernel opens

Every emitted kernel opens with its equations as a comment: that comment is how a kernel is found in
the text. A kernel whose comment is not there has no place, and the page then shows none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from codegen.c.emit import emit as emit_c
from codegen.numpy.emit import emit as emit_numpy
from compiler.driver import lowered
from compiler.network import Network
from compiler.optimizers import Optimizer
from compiler.schedule import loop_nest
from ir.kernel import Kernel, Module, Schedule
from ir.program import Definition
from ir.text import equation


@dataclass(frozen=True, slots=True)
class Place:
    """Lines `first` to `last` of an emitted file."""

    file: str
    first: int
    last: int
    code: str


@dataclass(frozen=True, slots=True)
class EmittedKernel:
    """One loop nest: its definitions in order, what it stores, and where it was emitted."""

    name: str
    members: tuple[Definition, ...]
    stored: tuple[str, ...]
    numpy: Place | None
    c: Place | None

    def places(self) -> tuple[Place, ...]:
        """Where it stands, in C and in NumPy."""
        return tuple(p for p in (self.c, self.numpy) if p is not None)


@dataclass(frozen=True, slots=True)
class Emitted:
    """The module of a network, its files by name, and the kernels of its largest program."""

    module: Module
    schedule: Schedule
    files: dict[str, str]
    kernels: tuple[EmittedKernel, ...]

    def kernel_of(self, name: str) -> EmittedKernel | None:
        """The kernel that computes a definition."""
        return next((k for k in self.kernels if name in {m.name for m in k.members}), None)


def emitted(network: Network, *, batch: int, optimizer: Optimizer | None = None) -> Emitted | None:
    """Emit a network for both targets and find its kernels; None if it computes nothing.

    The program is that of a training step, where there is one, else the gradients or the outputs.
    """
    module = lowered(network, batch=batch, optimizer=optimizer)
    schedule = module.step or module.gradient or module.forward
    if schedule is None:
        return None
    files = {**emit_c(module, loop_nest), **emit_numpy(module)}
    numpy = _blocks(f"{module.name}_numpy.py", files, _NUMPY, _numpy_end)
    c = _blocks(f"{module.name}.c", files, _C, _c_end)
    kernels = tuple(_placed(k, numpy, c) for k in schedule.kernels())
    return Emitted(module, schedule, files, kernels)


Blocks = dict[tuple[str, ...], Place]


def _placed(kernel: Kernel, numpy: Blocks, c: Blocks) -> EmittedKernel:
    wanted = tuple(_dense(equation(m)) for m in kernel.members)
    return EmittedKernel(
        kernel.name, kernel.members, kernel.stored, _find(wanted, numpy), _find(wanted, c)
    )


def _find(wanted: tuple[str, ...], blocks: Blocks) -> Place | None:
    """The last block that says these equations: the training step stands last in a file.

    A recurrence is one section in NumPy: its kernels stand in a row among the section's equations.
    """
    found = None
    for said, place in blocks.items():
        runs = (said[at : at + len(wanted)] for at in range(len(said) - len(wanted) + 1))
        if any(all(map(str.startswith, run, wanted)) for run in runs):
            found = place
    return found


def _dense(text: str) -> str:
    return "".join(text.split())


_NUMPY = re.compile(r"^ +# (?P<more>    )?(?P<text>.*)$")
_C = re.compile(r"^(?:/\* |   )(?P<more>    )?(?P<text>(?!Returns).*?)(?P<end> \*/)?$")


def _blocks(
    file: str,
    files: dict[str, str],
    comment: re.Pattern[str],
    end: Callable[[list[str], int, int], int],
) -> Blocks:
    """Every run of comment lines that says equations, with the lines up to the next."""
    lines = files[file].split("\n")
    runs = list(_runs(lines, comment))
    found: Blocks = {}
    for position, (first, said) in enumerate(runs):
        limit = runs[position + 1][0] if position + 1 < len(runs) else len(lines)
        last = end(lines, first, limit)
        found[*said] = Place(file, first + 1, last, "\n".join(lines[first:last]))
    return found


def _runs(lines: list[str], comment: re.Pattern[str]) -> Iterator[tuple[int, list[str]]]:
    """(first line, equations without spaces) of every comment that has a `=`."""
    number = 0
    while number < len(lines):
        first, said = number, list[str]()
        opens = lines[number].lstrip()[:2] in ("/*", "# ")
        while opens and number < len(lines) and (found := comment.match(lines[number])):
            text = _dense(found["text"])
            if found["more"] and said:
                said[-1] += text
            else:
                said.append(text.removeprefix("then"))
            number += 1
            if found.groupdict().get("end"):
                break
        if said and "=" in said[0]:
            yield first, said
        number = max(number, first + 1)


def _numpy_end(lines: list[str], first: int, limit: int) -> int:
    """A section ends at the first empty line."""
    return next((n for n in range(first, limit) if not lines[n].strip()), limit)


def _c_end(lines: list[str], first: int, limit: int) -> int:
    """A kernel ends before the public functions, or where the next opens; empty lines apart."""
    last = next((n for n in range(first, limit) if lines[n].startswith("const char *")), limit)
    while last > first + 1 and not lines[last - 1].strip():
        last -= 1
    return last
