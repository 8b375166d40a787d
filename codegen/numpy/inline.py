"""What stands inside a statement, and what a statement need not do for every element.

    inline      1.0/np.float32(rows)          an operation on numbers, as Python says it
    picked      c if j == label[n] else 0     which one element of each row differs
"""

from __future__ import annotations

import math

import sympy

from codegen.numpy.ops import Op
from codegen.numpy.writer import (
    AND,
    ATOM,
    COMPARED,
    LOOSE,
    NEGATED,
    OR,
    PRODUCT,
    SUM,
    Frame,
    Operand,
    Writer,
    inside,
)
from ir.affine import Linear, linear
from ir.expression import symbols_of

INFIX = {
    "add": ("+", SUM),
    "subtract": ("-", SUM),
    "multiply": ("*", PRODUCT),
    "divide": ("/", PRODUCT),
    "less": ("<", COMPARED),
    "less_equal": ("<=", COMPARED),
    "greater": (">", COMPARED),
    "greater_equal": (">=", COMPARED),
    "equal": ("==", COMPARED),
    "not_equal": ("!=", COMPARED),
    "logical_and": ("&", AND),
    "logical_or": ("|", OR),
}
TRUTHS = {name for name, (_, tight) in INFIX.items() if tight in (AND, OR, COMPARED)}
TRUTHS |= {"logical_not"}
ARITHMETIC = {"add", "subtract", "multiply", "divide"}
OWN = {"erf", "erfc"}
ZERO = {"0", "0.0"}
LEAVES = {"number", "truth", "access", "random", "index"}
FLAT = {*LEAVES, "cast", "indicator", "choose", "where", *OWN, *TRUTHS}
NOTHING = Op("number", (), 0.0)


def number(value: float) -> Operand:
    if isinstance(value, float) and not math.isfinite(value):
        text = "np.nan" if math.isnan(value) else "np.inf" if value > 0 else "-np.inf"
    else:
        text = repr(value)
    return Operand(text, tight=NEGATED if text.startswith("-") else ATOM, literal=True)


def inline(w: Writer, name: str, args: list[Operand]) -> Operand:
    """An operation on numbers that Python knows, or on arrays that are made once."""
    axes = frozenset().union(*(a.axes for a in args))
    tight, steady = ATOM, all(a.constant or a.literal for a in args)
    if name in INFIX:
        sign, tight = INFIX[name]
        left, right = args[0].within(tight + (tight == COMPARED)), args[1].within(tight + 1)
        text = f"{left} {sign} {right}"
    elif name == "negative":
        text, tight = f"-{args[0].within(NEGATED)}", NEGATED
    elif name == "logical_not":
        text = f"{'~' if axes else 'not '}{args[0].within(ATOM)}"
        tight = NEGATED if axes else LOOSE
    else:
        function = w.helper(name) if name in OWN else f"np.{name}"
        text = f"{function}({', '.join(a.text for a in args)})"
    return Operand(text, axes, tight, constant=steady)


def picked(w: Writer, term: Op, frame: Frame) -> tuple[list[Linear], Frame] | None:
    """Where the elements are that the condition `j == label[n]` picks, and the axes left."""
    axes = frozenset(r.index for r in frame)
    if term.name != "where" or term.args[0].name != "equal" or term.args[2] != NOTHING:
        return None
    sides = term.args[0].args
    if any(side.name != "index" for side in sides) or _varies(term.args[1], axes):
        return None
    ranges = {r.index: r for r in frame}
    for one, other in (sides, sides[::-1]):
        axis, form = linear(one.leaf).plain, linear(other.leaf)
        found = symbols_of([other.leaf]) & axes
        if axis not in ranges or axis in found or not found:
            continue
        rest = tuple(r for r in frame if r.index != axis)
        if inside(w.facts(rest), form, ranges[axis].size):
            forms = [form if r.index == axis else linear(r.index) for r in frame]
            return forms, rest
    return None


def _varies(op: Op, axes: frozenset[sympy.Symbol]) -> bool:
    """Whether the value is not the same number everywhere."""
    if op.leaf is not None and not isinstance(op.leaf, (bool, int, float)):
        return bool(symbols_of([op.leaf]) & axes)
    return any(_varies(arg, axes) for arg in op.args)


def is_off(w: Writer, op: Op) -> bool:
    """Whether this is `h <= 0` of a relu, which is positive, 0 or NaN: the same as `h == 0`."""
    zero = op.name == "less_equal" and op.args[1] == NOTHING
    return zero and op.args[0].name == "access" and op.args[0].leaf.tensor in w.relus
