"""What the C templates see: flat data of strings, every decision already made.

A `ModuleView` is the whole of NAME.c, NAME.h and NAME_c.py; `make_view` builds it from a module and
its nests. The three programs share kernels: a function that is needed twice is emitted once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArrayView:
    """An array of the caller: `x`, `float`, `[rows][784]`, and the same for Python."""

    name: str
    identifier: str
    of_python: str
    kind: str
    shape: str
    python_shape: str
    dtype: str
    count: str


@dataclass(frozen=True, slots=True)
class InputView(ArrayView):
    """An input; `outer`, `inner` are the elements around its batch dimension (0: it has none)."""

    limit: int = 0
    outer: int = 0
    inner: int = 0
    gathered: int = 0


@dataclass(frozen=True, slots=True)
class StartView:
    """How a parameter or state begins: its initialiser's kind and numbers."""

    identifier: str
    stream: int
    count: int
    kind: str
    first: str = ""
    second: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HyperparameterView:
    """A number that a training step takes: `lr`, `float`, default `0.1f`."""

    name: str
    identifier: str
    kind: str
    default: str
    python_default: str


@dataclass(frozen=True, slots=True)
class KernelView:
    """One static function."""

    name: str
    comment: tuple[str, ...]
    head: str
    body: tuple[str, ...]
    planes: tuple[PlaneView, ...]


@dataclass(frozen=True, slots=True)
class TemporaryView:
    """A pointer into the workspace; `each` is how far those of two threads are apart."""

    kind: str
    identifier: str
    offset: int
    shape: str
    each: int = 0


@dataclass(frozen=True, slots=True)
class ProgramView:
    """forward, value_and_grad or train_step: temporaries, then calls."""

    inputs: tuple[InputView, ...]
    outputs: tuple[ArrayView, ...]
    temporaries: tuple[TemporaryView, ...]
    workspace_bytes: int
    statements: tuple[str, ...]
    saving: str
    scratch: tuple[TemporaryView, ...]
    needs_params: bool
    counters: tuple[HyperparameterView, ...] = ()


@dataclass(frozen=True, slots=True)
class RowView:
    """A pointer to one row of an input: `const float *const x_now = x + order[first]*784`."""

    kind: str
    identifier: str
    array: str
    inner: int


@dataclass(frozen=True, slots=True)
class RotationView:
    """An epoch in which each step's last kernel and the next one's first are one call."""

    temporaries: tuple[TemporaryView, ...]
    now: tuple[RowView, ...]
    coming: tuple[RowView, ...]
    begin: str
    statements: tuple[str, ...]
    both: str
    end: str


@dataclass(frozen=True, slots=True)
class KindView:
    """Tiles of one kind of terms: what their names end in, and what is known of the terms.

    A tile has `parameters`, of the names `given`, and passes `onward` to gw_sum, where the loop
    over the terms of a run may be `written_out`.
    """

    suffix: str
    says: str
    parameters: str
    given: str
    onward: str
    written_out: bool = False


@dataclass(frozen=True, slots=True)
class TilesView:
    """The tiles of one sort of machine: the most sums, the most vectors by lines, lines of text.

    The shapes of each kind are those of its suffix.
    """

    condition: str
    sums: int
    widths: tuple[int, ...]
    shapes: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class TilesAlongView:
    """The same for tiles whose lanes run along the terms: the most rows and columns of one."""

    condition: str
    rows: int
    columns: int
    shapes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModuleView:
    """Everything that the templates of this folder may use."""

    name: str
    upper: str
    version: str
    content_hash: str
    real: str
    suffix: str
    max_batch: int
    batch_name: str
    workspace_bytes: int
    gather_offset: int
    flops: int
    portable: bool
    threads: int
    least_rows: int
    parameters: tuple[ArrayView, ...]
    state: tuple[ArrayView, ...]
    others: tuple[ArrayView, ...]
    inputs: tuple[InputView, ...]
    outputs: tuple[ArrayView, ...]
    hyperparameters: tuple[HyperparameterView, ...]
    limits: tuple[tuple[str, int], ...]
    loss: str
    starts: tuple[StartView, ...]
    state_starts: tuple[StartView, ...]
    kernels: tuple[KernelView, ...]
    helpers: tuple[str, ...]
    vectors: tuple[str, ...]
    kinds: tuple[KindView, ...]
    tiles: tuple[TilesView, ...]
    tiles_along: tuple[TilesAlongView, ...]
    runs: bool
    runs_along: bool
    one_run: bool
    more: bool
    onto: bool
    flat: bool
    few_rows: int
    uses_workspace: bool
    dots: bool
    forward: ProgramView | None
    gradient: ProgramView | None
    step: ProgramView | None
    flags: str
    gradient_names: tuple[str, ...]
    rotation: RotationView | None = None


@dataclass(frozen=True, slots=True)
class RunsView:
    """The terms of a contraction: runs of `length` each (all of them, if it is empty).

    Where there are several, at most `entries`, loops over them fill a table of where each begins:
    at its `position`, `left_at` and `right_at`. `arguments` is what a tile is told of all this.
    """

    kind: KindView
    arguments: str
    entries: int
    length: str
    loops: tuple[str, ...]
    position: str
    left_at: str
    right_at: str
    left_step: str
    right_step: str

    def mentions(self) -> tuple[str, ...]:
        """The text that may use the function's own parameters."""
        begins = (self.left_at, self.right_at) if self.entries else ()
        return (self.length, *self.loops, *begins, self.left_step, self.right_step)


@dataclass(frozen=True, slots=True)
class PlaneView:
    """The strings of one contraction, in the order in which the template uses them.

    `lines` is `height`, times the rows of the batch as often as `batches` says; `width` is all
    columns.
    """

    real: str
    shared: bool
    by_columns: bool
    planes: str
    few: tuple[str, ...]
    lines: str
    height: int
    batches: int
    width: int
    run: int
    flat: bool
    even: bool
    start: str
    depth: int
    left: str
    right: str
    zeros: tuple[tuple[str, int], ...]
    runs: RunsView
    loops: tuple[str, ...]
    copies: tuple[str, ...]
    block_loops: tuple[str, ...]
    block_copies: tuple[str, ...]
    piece_loop: tuple[str, ...]
    count: str
    more: str
    last: str
    row_digits: tuple[str, ...]
    row_at: str
    column_digits: tuple[str, ...]
    left_fill: tuple[str, ...]
    left_zeros: bool
    right_fill: tuple[str, ...]
    along_memory: tuple[str, ...]
    right_zeros: bool
    left_panel: str
    right_panel: str
    sums: str
    columns: tuple[str, ...]
    inner_size: int
    pitch: int
    epilogue: tuple[str, ...]
    finish_digits: tuple[str, ...]
    strip: int
    next_strip: tuple[str, ...]
    lines_of_run: int
    along: bool
    columns_of_all: str
    column_at: str
    onto: str = ""
    onto_apart: int = 0
    onto_scale: str = ""

    @property
    def in_place(self) -> bool:
        """Whether every tile adds its sums where they belong: none takes a column again."""
        return self.even and bool(self.onto)

    def mentions(self) -> tuple[str, ...]:
        """The text that may use the function's own parameters."""
        return (
            self.lines, self.planes, self.count, self.left, self.right, self.last, self.more,
            *self.epilogue, *self.along_memory, *self.few, *self.loops, *self.block_loops,
            *self.runs.mentions(), self.columns_of_all, *self.copies, *self.block_copies,
            *self.piece_loop,
        )  # fmt: skip
