"""Sums and maxima along axes of one array.

    np.dot(ones, d_y, out=d_b)       the sum along the leading axes
    np.dot(t, ones, out=s)           along the trailing axes
    np.add.reduce(t, axis=1, out=s)  along others
"""

from __future__ import annotations

from codegen.numpy.gathers import RESHAPED
from codegen.numpy.writer import Array, Frame, Operand, Writer, axes_text, sizes_of, steps_of
from ir.program import DType, Shape

SHORT = 32  # elements of a row that are copied more quickly than its reduction starts
MANY = 32  # rows from which that pays: 2.4 instead of 3.4 us for 32 of 10, 3.8 for 26 for 512


def write_total(
    w: Writer, value: Operand, frame: Frame, positions: list[int], name: str, dtype: DType
) -> None:
    """The sum over the axes at those positions of the frame.

    Over the leading or the trailing axes of an array that lies row by row it is a product with
    ones, which BLAS adds up several times quicker than `np.add.reduce`.
    """
    steps, count = steps_of(value, frame), len(positions)
    plain = steps is None or steps == w.strides(Array("", sizes_of(frame), dtype))
    if plain and not value.literal and dtype == w.real and count < len(frame):
        if positions == list(range(count)):
            _add_rows(w, value, frame, count, name)
            return
        if positions == list(range(len(frame) - count, len(frame))):
            _add_columns(w, value, frame, len(frame) - count, name)
            return
    kept = tuple(r for i, r in enumerate(frame) if i not in positions)
    write_reduction(w, "add", value.text, positions, name, kept, dtype)


def _add_rows(w: Writer, value: Operand, frame: Frame, count: int, name: str) -> None:
    """Along the leading axes, so many of them."""
    over, kept = sizes_of(frame[:count]), sizes_of(frame[count:])
    matrix, out = _matrix(w, value, over, kept), _row(w, name, kept)
    w.say(f"np.dot({_ones(w, over)}, {matrix}, out={out})")


def _add_columns(w: Writer, value: Operand, frame: Frame, count: int, name: str) -> None:
    """Along the axes that trail so many others."""
    kept, over = sizes_of(frame[:count]), sizes_of(frame[count:])
    matrix, out = _matrix(w, value, kept, over), _row(w, name, kept)
    w.say(f"np.dot({matrix}, {_ones(w, over)}, out={out})")


def _ones(w: Writer, sizes: Shape) -> str:
    return w.constant("ones", f"np.ones({w.count_text(sizes)}, {w.scalar_type})")


def _matrix(w: Writer, value: Operand, rows: Shape, columns: Shape) -> str:
    """The array as a matrix."""
    if len(rows) == len(columns) == 1:
        return value.text
    text = RESHAPED.sub("", value.text)
    return f"{text}.reshape({w.count_text(rows)}, {w.count_text(columns)})"


def _row(w: Writer, name: str, sizes: Shape) -> str:
    """A new array as one row."""
    w.place(name, sizes, w.real)
    return f"{name}.reshape(-1)" if len(sizes) > 1 else name


def across(w: Writer, terms: Operand, frame: Frame) -> tuple[Operand, list[int]]:
    """A matrix whose rows are to be reduced, and its reduced axis: short rows as columns.

    A call of NumPy's inner loop for each of many rows takes longer than a copy of them all.
    """
    rows, columns = sizes_of(frame)
    count = rows if isinstance(rows, int) else w.program.largest_batch
    if not isinstance(columns, int) or columns > SHORT or count < MANY:
        return terms, [1]
    place = w.place(w.name("t"), (columns, rows), w.real)
    w.say(f"np.copyto({place}, {terms.text}.T)")
    return Operand(place, terms.axes, temporary=True), [0]


def write_reduction(
    w: Writer, function: str, value: str, positions: list[int], name: str, kept: Frame, dtype: str
) -> None:
    """`np.add.reduce` into an array; of everything it is a number."""
    call = f"np.{function}.reduce({value}, axis={axes_text(positions)}"
    if kept:
        w.place(name, sizes_of(kept), dtype)
        w.say(f"{call}, out={name})")
    else:
        w.say(f"{name} = {call})")
