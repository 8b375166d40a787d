"""What the NumPy templates see: flat data of strings, every decision already made.

A `ModuleView` is the whole of NAME_numpy.py; `codegen/numpy/emit.py` builds it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArrayView:
    """An array of the caller: `fc1.W`, `fc1_W`, `(784, 100)`, `float32`, and where its rows are."""

    name: str
    identifier: str
    shape: str
    dtype: str
    batch_axis: int | None = None


@dataclass(frozen=True, slots=True)
class StartView:
    """How an array begins: `np.zeros((100,), DTYPE)`, or a call that draws it."""

    name: str
    make: str


@dataclass(frozen=True, slots=True)
class SettingView:
    """A number that a training step takes: `lr`, default `0.1`."""

    name: str
    identifier: str
    default: str


@dataclass(frozen=True, slots=True)
class ProgramView:
    """A private function: its arrays, what it is given, its statements, the lines that return.

    `counts` are keywords of the caller, whole numbers with default 0; `fixed` are the arguments
    made of them, and those that are always the same. `quiet` if the arrays hold what may be no
    number, in branches that are not taken.
    """

    inputs: tuple[ArrayView, ...]
    counts: tuple[str, ...]
    fixed: tuple[str, ...]
    name: str
    arrays: tuple[str, ...]
    quiet: bool
    head: tuple[str, ...]
    statements: tuple[str, ...]
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModuleView:
    """Everything that the templates of this folder may use."""

    name: str
    version: str
    content_hash: str
    real: str
    max_batch: int
    workspace_bytes: int
    flops: int
    parameters: tuple[ArrayView, ...]
    state: tuple[ArrayView, ...]
    others: tuple[tuple[str, str], ...]
    inputs: tuple[ArrayView, ...]
    outputs: tuple[ArrayView, ...]
    settings: tuple[SettingView, ...]
    limits: tuple[tuple[str, int], ...]
    loss: str
    gradient_names: tuple[str, ...]
    starts: tuple[StartView, ...]
    state_starts: tuple[StartView, ...]
    draws: frozenset[str]
    words: bool
    helpers: frozenset[str]
    forward: ProgramView | None
    gradient: ProgramView | None
    step: ProgramView | None
