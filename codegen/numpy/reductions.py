"""Sums and maxima along axes of one array.

    np.add.reduce(t, axis=1, out=s)      np.dot(ones, d_y, out=d_b)      along the leading axes
"""

from __future__ import annotations

from codegen.numpy.gathers import RESHAPED
from codegen.numpy.writer import Array, Frame, Operand, Writer, axes_text, sizes_of, steps_of
from ir.program import DType


def write_total(
    w: Writer, value: Operand, frame: Frame, positions: list[int], name: str, dtype: DType
) -> None:
    """The sum over the axes at those positions of the frame."""
    if _is_down(w, value, frame, positions, dtype):
        _add_rows(w, value, frame, len(positions), name)
    else:
        kept = tuple(r for i, r in enumerate(frame) if i not in positions)
        write_reduction(w, "add", value.text, positions, name, kept, dtype)


def _is_down(
    w: Writer, value: Operand, frame: Frame, positions: list[int], dtype: DType
) -> bool:
    """Whether the sum is over the leading axes of an array that lies row by row."""
    steps = steps_of(value, frame)
    plain = steps is None or steps == w.strides(Array("", sizes_of(frame), dtype))
    leading = positions == list(range(len(positions))) and len(positions) < len(frame)
    return leading and plain and not value.literal and dtype == w.real


def _add_rows(w: Writer, value: Operand, frame: Frame, count: int, name: str) -> None:
    """A product with ones, which BLAS adds up several times quicker than `np.add.reduce`."""
    over, kept = sizes_of(frame[:count]), sizes_of(frame[count:])
    ones = w.constant("ones", f"np.ones({w.count_text(over)}, {w.scalar_type})")
    w.place(name, kept, w.real)
    text, out = value.text, name
    if len(frame) > 2:
        text = f"{RESHAPED.sub('', text)}.reshape({w.count_text(over)}, {w.count_text(kept)})"
        out = f"{name}.reshape(-1)" if len(kept) > 1 else name
    w.say(f"np.dot({ones}, {text}, out={out})")


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
