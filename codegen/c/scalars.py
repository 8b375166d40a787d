"""SymPy expressions as C: values in the program's floating type, indices in ptrdiff_t.

    ScalarPrinter(names, "float32").value(tanh(x[n, k]) * 2)   2.0f*gw_tanhf(x[n*784 + k])
    ScalarPrinter(names, "float32").index(2*p + r - 1)         2*p + r - 1

Functions are those of the table FUNCTIONS; the ones in MATHEMATICS are emitted too, as gw_exp and
so on, the others are libm's. Whole powers are products, roots are sqrt; `pow` is called only where
neither is. Numbers are worked out here. Conditions stay lazy: a Piecewise is a conditional
expression. Small helpers that the text calls are noted in `helpers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from struct import Struct

import sympy
from sympy import Expr, Symbol
from sympy.logic.boolalg import BooleanFalse, BooleanTrue
from sympy.printing.precedence import PRECEDENCE, precedence

from ir.affine import Linear, linear
from ir.expression import Access, FloorDiv, Random, Remainder
from ir.program import Shape
from ir.text import PlainPrinter

C_TYPES = {"float32": "float", "float64": "double", "int32": "int32_t", "int64": "int64_t"}

FUNCTIONS = {
    "exp": "exp", "log": "log", "tanh": "tanh", "sinh": "sinh", "cosh": "cosh", "sin": "sin",
    "cos": "cos", "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan",
    "atan2": "atan2", "sqrt": "sqrt", "erf": "erf", "erfc": "erfc", "Abs": "fabs", "pow": "pow",
}  # fmt: skip

# Emitted functions that take libm's place (math.c.jinja), and what each of them calls.
MATHEMATICS = {
    "exp": ("grow", "bits"),
    "log": ("reduce", "bits"),
    "tanh": ("grow", "bits"),
    "erf": ("bits",),
    "pow": (),
}

# Those with the same bits on every machine: our own, and what IEEE 754 rounds exactly.
EXACT = frozenset({"sqrt", "Abs"})
PORTABLE = frozenset(MATHEMATICS) | EXACT

LARGEST_PRODUCT = 4  # x**4 is still written out as a product
MUL, ADD, ATOM = PRECEDENCE["Mul"], PRECEDENCE["Add"], PRECEDENCE["Atom"]


FLOAT32 = Struct("f")


def single(value: float) -> float:
    """The float32 next to a number; infinite for what is too large."""
    return float(FLOAT32.unpack(FLOAT32.pack(value))[0])


def shortest(value: float) -> str:
    """The shortest decimal that reads back as this float32: nine digits always do."""
    texts = (repr(float(f"{value:.{digits}g}")) for digits in range(1, 10))
    return next(text for text in texts if single(float(text)) == value)


class IndexPrinter(PlainPrinter):
    """Integer expressions. Division and remainder round down, as in Python."""

    printmethod = "_c_index"  # SymPy would otherwise ask an Access for its own text form

    def __init__(self, owner: ScalarPrinter) -> None:
        super().__init__()
        self.owner = owner

    def _print_Symbol(self, expr: Symbol) -> str:
        return self.owner.spell(expr)

    def _print_Access(self, expr: Access) -> str:
        return self.owner.element(expr)

    def _print_FloorDiv(self, expr: FloorDiv) -> str:
        self.owner.helpers.add("gw_floor_div")
        return f"gw_floor_div({self._print(expr.args[0])}, {expr.args[1]})"

    def _print_Remainder(self, expr: Remainder) -> str:
        self.owner.helpers.add("gw_floor_mod")
        return f"gw_floor_mod({self._print(expr.args[0])}, {expr.args[1]})"

    def _print_Pow(self, expr: sympy.Pow) -> str:
        base = self.parenthesize(expr.base, ATOM)
        return "*".join([base] * int(expr.exp))

    def emptyPrinter(self, expr: object) -> str:
        raise TypeError(f"no C for the index expression {expr!r}")


class ScalarPrinter(PlainPrinter):
    """Values. `spell` names a symbol, `shapes` gives the arrays, `scalars` are passed by value.

    `cells` are arrays with one element in view: its text, whatever the indices. `small` are arrays
    of 32-bit integers, and `limits` the ends of loops that begin at 0.
    """

    printmethod = "_c_value"

    def __init__(
        self,
        spell: Callable[[Symbol], str],
        shapes: Mapping[str, Shape],
        dtype: str,
        scalars: frozenset[str] = frozenset(),
        buffers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.spell = spell
        self.shapes = shapes
        self.dtype = dtype
        self.scalars = scalars
        self.buffers = buffers or {}
        self.helpers: set[str] = set()
        self.cells: dict[str, str] = {}
        self.small: frozenset[str] = frozenset()
        self.limits: dict[Symbol, int] = {}
        self._index = IndexPrinter(self)

    # ------------------------------------------------------------ entry points

    def value(self, expr: Expr) -> str:
        """The expression as a value of the floating type."""
        return str(self._print(expr))

    def index(self, expr: Expr) -> str:
        """The expression as an integer."""
        if isinstance(expr, sympy.Piecewise):
            return self._conditional(expr, self.index)
        return str(self._index._print(expr))

    def condition(self, expr: object) -> str:
        """The expression as a truth value."""
        return str(self._print(expr))

    def element(self, access: Access) -> str:
        """`x[n*784 + k]`; a scalar that is passed by value is its own name."""
        if access.tensor in self.cells:
            return self.cells[access.tensor]
        name = self.buffers.get(access.tensor, access.tensor)
        return name if access.tensor in self.scalars else f"{name}[{self.offset(access)}]"

    def offset(self, access: Access) -> str:
        """The row-major position, one term a dimension, in the order of the shape."""
        terms, stride = [], sympy.Integer(1)
        for index, size in zip(
            reversed(access.indices), reversed(self.shapes[access.tensor]), strict=True
        ):
            if index != 0:
                terms.append(self._term(index, stride))
            stride = stride * size
        return " + ".join(reversed(terms)) or "0"

    def _term(self, index: Expr, stride: Expr) -> str:
        if 1 in (index, stride) or (index.is_Integer and stride.is_Integer):
            return self.index(index * stride)
        text = self.index(index)
        if precedence(index) < MUL:
            text = f"({text})"
        return f"{text}*{self.index(stride)}"

    # ------------------------------------------------------------ leaves

    def number(self, value: float) -> str:
        """The shortest literal that reads back as the same number."""
        value = single(value) if self.dtype == "float32" else float(value)
        cast = "" if self.dtype == "float32" else "(double)"  # both macros are floats
        if math.isinf(value):
            return f"{cast}INFINITY" if value > 0 else f"-{cast}INFINITY"
        if math.isnan(value):
            return f"{cast}NAN"
        text = shortest(value) if self.dtype == "float32" else repr(value)
        return text + ("f" if self.dtype == "float32" else "")

    def _print_Number(self, expr: sympy.Number) -> str:
        return self.number(float(expr))

    _print_Integer = _print_Rational = _print_Float = _print_Number
    _print_Zero = _print_One = _print_NegativeOne = _print_Half = _print_Number
    _print_Infinity = _print_NegativeInfinity = _print_NaN = _print_Number
    _print_Pi = _print_Exp1 = _print_NumberSymbol = _print_Number

    def _print_Symbol(self, expr: Symbol) -> str:
        return self._cast(self.spell(expr)) if expr.is_integer else self.spell(expr)

    def _print_Access(self, expr: Access) -> str:
        text = self.element(expr)
        return self._cast(text) if expr.is_integer else text

    def _print_FloorDiv(self, expr: FloorDiv) -> str:
        return self._cast(self.index(expr))

    _print_Remainder = _print_FloorDiv

    def _cast(self, text: str) -> str:
        return f"({C_TYPES[self.dtype]}){text}"

    # ------------------------------------------------------------ arithmetic

    def wrapped(self, expr: Expr, level: int) -> str:
        """The value, bracketed if it binds less tightly than `level`; positive numbers never."""
        text = self.value(expr)
        if expr.is_Number and expr.is_nonnegative:
            return text
        return f"({text})" if precedence(expr) < level else text

    def _print_Add(self, expr: sympy.Add, order: str | None = None) -> str:
        terms = sorted(expr.args, key=lambda t: bool(t.could_extract_minus_sign()))
        text = self.wrapped(terms[0], ADD)
        for term in terms[1:]:
            if term.could_extract_minus_sign():
                text += f" - {self.wrapped(-term, MUL)}"
            else:
                text += f" + {self.wrapped(term, ADD)}"
        return text

    def _print_Mul(self, expr: sympy.Mul) -> str:
        if expr.could_extract_minus_sign():
            return f"-{self.wrapped(-expr, MUL)}"
        known = [a for a in expr.args if a.is_number]
        others = [a for a in expr.args if not a.is_number]
        above = [a for a in others if not _is_divisor(a)]
        below = [1 / a for a in others if _is_divisor(a)]
        factors = [self.number(float(sympy.Mul(*known)))] if known or not above else []
        text = "*".join([*factors, *(self.wrapped(a, MUL) for a in above)])
        if not below:
            return text
        divisor = sympy.Mul(*below) if len(below) > 1 else below[0]
        return f"{text}/{self.wrapped(divisor, PRECEDENCE['Pow'])}"

    def _print_Pow(self, expr: sympy.Pow, rational: bool = False) -> str:
        base, exponent = expr.base, expr.exp
        if expr.is_number:
            return self.number(float(expr))
        if _is_divisor(expr):
            return f"{self.number(1.0)}/{self.wrapped(1 / expr, PRECEDENCE['Pow'])}"
        if exponent == sympy.S.Half:
            return self.call("sqrt", base)
        if exponent == sympy.Rational(3, 2):
            self.helpers.add("gw_three_halves")
            return f"gw_three_halves({self.value(base)})"
        if isinstance(exponent, sympy.Integer) and 2 <= exponent <= LARGEST_PRODUCT:
            return self._product(base, int(exponent))
        return self.call("pow", base, exponent)

    def _product(self, base: Expr, count: int) -> str:
        """x*x for a name, a helper for anything longer, so that it is computed once."""
        if isinstance(base, Symbol | Access):
            return "(" + "*".join([self.value(base)] * count) + ")"
        helper = {2: "gw_square", 3: "gw_cube", 4: "gw_fourth"}[count]
        self.helpers.add(helper)
        return f"{helper}({self.value(base)})"

    def _print_exp(self, expr: sympy.exp) -> str:
        return self.call("exp", *expr.args)

    # ------------------------------------------------------------ functions and conditions

    def call(self, name: str, *args: Expr) -> str:
        function = FUNCTIONS[name] + ("f" if self.dtype == "float32" else "")
        if name in MATHEMATICS:
            self.helpers |= needed(name, self.dtype)
            function = f"gw_{function}"
        return f"{function}({', '.join(self.value(a) for a in args)})"

    def _print_Function(self, expr: sympy.Function) -> str:
        return self.call(type(expr).__name__, *expr.args)

    def _print_Abs(self, expr: sympy.Abs) -> str:
        return self.call("Abs", *expr.args)

    def _print_sign(self, expr: sympy.sign) -> str:
        self.helpers.add("gw_sign")
        return f"gw_sign({self.value(expr.args[0])})"

    def _print_Random(self, expr: Random) -> str:
        seed, step, stream, *indices = expr.args
        text = f"gw_stream({self.index(seed)}, {self.index(step)}, {stream})"
        for index in indices:
            text = f"gw_draw_at({text}, {self.index(index)})"
        self.helpers |= {"gw_random", "gw_mix"} | ({"gw_draw_at"} if indices else set())
        return f"gw_fraction({text})"

    def _print_Piecewise(self, expr: sympy.Piecewise) -> str:
        *first, (last, _) = expr.args
        if _is_choice_with_zero(expr) and not (first[0][0] + last).atoms(Access):
            return self._kept(expr)
        return self._conditional(expr, self.value)

    def _kept(self, choice: sympy.Piecewise) -> str:
        """The choice between zero and something else, without a branch."""
        (value, condition), (other, _) = choice.args
        self.helpers.add("gw_keep")
        when = self.condition(condition)
        if value == 0:
            return f"gw_keep(!({when}), {self.value(other)})"
        return f"gw_keep({when}, {self.value(value)})"

    def _conditional(self, expr: sympy.Piecewise, branch: Callable[[Expr], str]) -> str:
        """`(c1 ? a : c2 ? b : rest)`."""
        *first, (last, _) = expr.args
        text = branch(last)
        for value, guard in reversed(first):
            text = f"{self.condition(guard)} ? {branch(value)} : {text}"
        return f"({text})"

    def _print_Relational(self, expr: sympy.core.relational.Relational) -> str:
        left, right = expr.args
        relation = "==" if isinstance(expr, sympy.Eq) else expr.rel_op
        if left.is_integer and right.is_integer:
            return f"{self._beside(left, right)} {relation} {self._beside(right, left)}"
        return f"{self.value(left)} {relation} {self.value(right)}"

    def _beside(self, expr: Expr, other: Expr) -> str:
        """An index that is compared with an element of 32 bits: in its type, if it surely fits.

        Values of one width are compared side by side as vectors.
        """
        text = self.index(expr)
        narrow = isinstance(other, Access) and other.tensor in self.small
        if not narrow or expr.is_Number or not self._is_small(linear(expr)):
            return text
        return f"(int32_t){text}" if isinstance(expr, Symbol) else f"(int32_t)({text})"

    def _is_small(self, form: Linear) -> bool:
        largest = abs(form.const)
        for atom, coefficient in form.terms:
            if atom not in self.limits:
                return False
            largest += abs(coefficient) * self.limits[atom]
        return largest < 2**31

    def _print_And(self, expr: sympy.And) -> str:
        return " && ".join(f"({self.condition(a)})" for a in _ordered(expr))

    def _print_Or(self, expr: sympy.Or) -> str:
        return " || ".join(f"({self.condition(a)})" for a in _ordered(expr))

    def _print_Not(self, expr: sympy.Not) -> str:
        return f"!({self.condition(expr.args[0])})"

    def _print_BooleanTrue(self, expr: BooleanTrue) -> str:
        return "1"

    def _print_BooleanFalse(self, expr: BooleanFalse) -> str:
        return "0"

    def emptyPrinter(self, expr: object) -> str:
        raise TypeError(f"no C for {expr!r}")


def needed(name: str, dtype: str) -> frozenset[str]:
    """The emitted functions that one of MATHEMATICS consists of."""
    suffix = "f" if dtype == "float32" else ""
    found = {f"gw_{part}{suffix}" for part in (name, *MATHEMATICS[name])}
    if (name, dtype) == ("erf", "float64"):
        found |= needed("exp", dtype)
    if name == "pow":
        found |= needed("exp", "float64") | needed("log", "float64")
    return frozenset(found)


def _is_divisor(expr: Expr) -> bool:
    return isinstance(expr, sympy.Pow) and bool(expr.exp.is_negative) and expr.exp.is_number


def _is_choice_with_zero(expr: Expr) -> bool:
    if not isinstance(expr, sympy.Piecewise) or len(expr.args) != 2:
        return False
    (value, _), (other, certain) = expr.args
    return bool(certain == sympy.true and (value == 0) != (other == 0))


def _ordered(expr: Expr) -> list[Expr]:
    """And and Or keep their arguments in a set; their text is what orders them."""
    return sorted(expr.args, key=str)
