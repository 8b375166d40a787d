"""Array statements from a graph of operations, overwriting temporaries where nobody needs them.

    t = z - m[:, None]
    np.exp(t, out=t)                # every statement knows the array it writes
    t /= s[:, None]

Numbers and masks are written inline; arrays get a statement each. An array that this evaluation
made is overwritten by the operation that uses it last. What NumPy lacks is a function of the
emitted module.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import sympy

from codegen.numpy.indexing import access, arange, index_value
from codegen.numpy.ops import Lowering, Op
from codegen.numpy.padding import reachable
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
)
from ir.affine import linear
from ir.expression import Access, Random, symbols_of

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
COMMUTATIVE = {"add", "multiply"}
ARITHMETIC = {"add", "subtract", "multiply", "divide"}
OWN = {"erf", "erfc"}


class Evaluation:
    """The statements of one body. Its first array gets `name`, a name that is reserved for it.

    `owned` are arrays of earlier statements that end here: they may be overwritten, unless the
    body reads them in two ways, where the second would find what the first left.
    """

    def __init__(
        self,
        w: Writer,
        frame: Frame,
        name: str = "",
        owned: frozenset[str] = frozenset(),
        real: bool = True,
    ) -> None:
        self.w, self.frame, self.name, self.owned = w, frame, name, owned
        self.lowering = Lowering(frozenset(r.index for r in frame), real)
        self.uses: Counter[Op] = Counter()
        self.memo: dict[Op, Operand] = {}
        self.free: list[Operand] = []
        self.named = not name
        self.made = set(owned)

    def of(self, expr: sympy.Basic) -> Operand:
        """The value of a body or a condition; inline text, or the name of an array."""
        op = self._begin(expr)
        return self._solid(self._take(op))

    def into(self, expr: sympy.Basic, place: str) -> None:
        """Writes the value of a body to an array that exists."""
        op = self._begin(expr)
        if op.name in FLAT or not self.frame:
            self.w.say(f"{place}[...] = {self._solid(self._take(op)).text}")
            return
        args = self._solid_all(op)
        if any(a.axes == self.lowering.axes for a in args):
            self._overwrite(op.name, args, place)
        else:
            self.w.say(f"{place}[...] = {self._inline(op.name, args).text}")

    def _begin(self, expr: sympy.Basic) -> Op:
        """The graph, its uses counted; what it reads in one way only may be overwritten."""
        op = self.lowering.lower(expr)
        self._count(op)
        reads = Counter(self.w.arrays[a.tensor].text for a in expr.atoms(Access))
        self.owned = frozenset(text for text in self.owned if reads[text] == 1)
        return op

    def _count(self, op: Op) -> None:
        """How often each distinct operation is used: the last use may overwrite it."""
        self.uses[op] += 1
        if self.uses[op] == 1:
            for arg in op.args:
                self._count(arg)

    def _take(self, op: Op) -> Operand:
        return self._take_all((op,))[0]

    def _take_all(self, ops: tuple[Op, ...]) -> list[Operand]:
        """The operands of one operation. They count as used now: the last use may overwrite."""
        for op in ops:
            self._value(op)
        taken = []
        for op in ops:
            self.uses[op] -= 1
            operand = self.memo[op]
            taken.append(operand if self.uses[op] == 0 else replace(operand, temporary=False))
        return taken

    def _value(self, op: Op) -> None:
        if op not in self.memo:
            operand = self._make(op)
            if self.uses[op] > 1 and (operand.computed or operand.tight < ATOM):
                operand = self._named(operand)
            if op.name in TRUTHS or op.name == "index":
                operand = replace(operand, temporary=False)
            self.memo[op] = operand

    def _make(self, op: Op) -> Operand:
        match op.name:
            case "number":
                return self._number(op.leaf)
            case "truth":
                return Operand(str(op.leaf))
            case "access":
                return self._access(op)
            case "random":
                return self._random(op.leaf)
            case "index":
                return index_value(self.w, linear(op.leaf), self.frame)
            case "cast":
                return self._cast(op.args[0])
            case "choose":
                return self._choose(op)
        if op.name == "indicator":
            held = self._take(op.args[0])
            return replace(held, computed=True, temporary=False, indicator=True)
        args = self._solid_all(op)
        if op.name == "where":
            return self._where(args)
        return self._apply(op.name, args)

    def _solid_all(self, op: Op) -> list[Operand]:
        """The operands of an operation; truths stay so where a real number meets them."""
        args = self._take_all(op.args)
        real = [a for a in args if not a.literal and not a.indicator]
        if op.name in ARITHMETIC and len(real) == 1 and len(args) == 2:
            return args
        return [self._solid(a) for a in args]

    def _solid(self, operand: Operand) -> Operand:
        """Truths as numbers."""
        if not operand.indicator:
            return operand
        kind = self.w.scalar_type
        if not operand.axes:
            return Operand(f"{kind}({operand.text})")
        return Operand(f"{operand.within(ATOM)}.astype({kind})", operand.axes, computed=True)

    # ------------------------------------------------------------ leaves

    def _number(self, value: float) -> Operand:
        if isinstance(value, float) and not math.isfinite(value):
            text = "np.nan" if math.isnan(value) else "np.inf" if value > 0 else "-np.inf"
        else:
            text = repr(value)
        return Operand(text, tight=NEGATED if text.startswith("-") else ATOM, literal=True)

    def _access(self, op: Op) -> Operand:
        operand = access(self.w, reachable(self.w, op.leaf, self.frame), self.frame)
        mine = operand.text in self.owned and operand.axes == self.lowering.axes
        return replace(operand, temporary=True) if mine else operand

    def _cast(self, index: Op) -> Operand:
        """An integer as the floating type, so that it does not widen what it meets."""
        form = self.w.facts(self.frame).simplified(linear(index.leaf))
        kind = self.w.scalar_type
        if form.plain in self.lowering.axes:
            axis = form.plain
            return Operand(arange(self.w, axis, self.frame, kind), frozenset([axis]))
        operand = index_value(self.w, form, self.frame)
        if operand.axes:
            return Operand(f"{operand.within(ATOM)}.astype({kind})", operand.axes, computed=True)
        return Operand(f"{kind}({operand.text})")

    def _random(self, draw: Random) -> Operand:
        """A call of the emitted generator, on the indices as arrays."""
        given = [index_value(self.w, linear(e), self.frame) for e in draw.args]
        axes = frozenset().union(*(g.axes for g in given))
        listed = ", ".join(g.text for g in given)
        return Operand(f"{self.w.helper('random')}({listed})", axes, computed=True)

    # ------------------------------------------------------------ operations

    def _apply(self, name: str, args: list[Operand]) -> Operand:
        """One function: in place, inline if it is small, or as a new array."""
        axes = frozenset().union(*(a.axes for a in args))
        if axes and name in TRUTHS and any(a.text in self.made for a in args):
            return self._mask(name, args, axes)
        if not axes or name in TRUTHS:
            return self._inline(name, args)
        mine = [a for a in args if a.temporary and a.axes == axes]
        if name in OWN:
            return self._named(self._inline(name, args))
        if mine:
            place = next((a for a in mine if a.text == self.name), mine[0])
            self._overwrite(name, args, place.text)
            self.free += [a for a in mine if a.text != place.text]
            return place
        spare = next((a for a in self.free if a.axes == axes), None)
        if spare is not None:
            self.free.remove(spare)
            self._overwrite(name, args, spare.text)
            return spare
        return self._named(self._inline(name, args))

    def _mask(self, name: str, args: list[Operand], axes: frozenset[sympy.Symbol]) -> Operand:
        """A truth about an array that a later statement may overwrite: taken down at once."""
        place = self.w.name("mask")
        self.w.say(f"{place} = {self._inline(name, args).text}")
        return Operand(place, axes)

    def _overwrite(self, name: str, args: list[Operand], place: str) -> None:
        """`place *= b` where the place is the first operand, else `np.exp(a, out=place)`."""
        if name in COMMUTATIVE and args[1].text == place:
            args = args[::-1]
        sign, _ = INFIX.get(name, ("", 0))
        if sign and name not in TRUTHS and args[0].text == place:
            self.w.say(f"{place} {sign}= {args[1].text}")
            return
        listed = ", ".join(a.text for a in args)
        self.w.say(f"np.{name}({listed}, out={place})")

    def _inline(self, name: str, args: list[Operand]) -> Operand:
        axes = frozenset().union(*(a.axes for a in args))
        if name in INFIX:
            sign, tight = INFIX[name]
            left, right = args[0].within(tight + (tight == COMPARED)), args[1].within(tight + 1)
            return Operand(f"{left} {sign} {right}", axes, tight, computed=True)
        if name == "negative":
            return Operand(f"-{args[0].within(NEGATED)}", axes, NEGATED, computed=True)
        if name == "logical_not":
            word = "~" if axes else "not "
            tight = NEGATED if axes else LOOSE
            return Operand(f"{word}{args[0].within(ATOM)}", axes, tight, computed=True)
        listed = ", ".join(a.text for a in args)
        function = self.w.helper(name) if name in OWN else f"np.{name}"
        return Operand(f"{function}({listed})", axes, computed=True)

    def _where(self, args: list[Operand]) -> Operand:
        condition, value, other = args
        if value.literal and other.literal and self.lowering.real:
            value = Operand(f"{self.w.scalar_type}({value.text})")
        axes = frozenset().union(*(a.axes for a in args))
        if other.text == "0.0" and condition.axes and value.axes:
            return self._masked(condition, value, axes)
        if value.text == "0.0" and condition.axes and other.axes:
            return self._masked(self._inline("logical_not", [condition]), other, axes)
        text = f"np.where({condition.text}, {value.text}, {other.text})"
        self.free += [a for a in args if a.temporary]
        return self._named(Operand(text, axes, computed=True)) if axes else Operand(f"{text}[()]")

    def _next_name(self, axes: frozenset[sympy.Symbol]) -> str:
        """The evaluation's name for the first array that is as large as the result."""
        if self.named or axes != self.lowering.axes:
            return self.w.name("t")
        self.named = True
        return self.name

    def _masked(
        self, condition: Operand, value: Operand, axes: frozenset[sympy.Symbol]
    ) -> Operand:
        """`where` with zero otherwise, several times quicker than NumPy's for a random mask."""
        text = f"{self.w.helper('masked')}({condition.text}, {value.text}"
        if value.temporary and value.axes == axes:
            self.w.say(f"{text}, out={value.text})")
            return value
        return self._named(Operand(f"{text})", axes, computed=True))

    def _named(self, operand: Operand) -> Operand:
        """The operand as a new array, under the evaluation's name if that is still free."""
        name = self._next_name(operand.axes)
        self.w.say(f"{name} = {operand.text}")
        if operand.indicator:
            return replace(operand, text=name, tight=ATOM, computed=False)
        if operand.computed:
            self.w.fresh.add(name)
            self.made.add(name)
        return Operand(name, operand.axes, temporary=operand.computed)

    # ------------------------------------------------------------ a choice that Python makes

    def _choose(self, op: Op) -> Operand:
        """`if t >= 1: … else: …`, the value under one name; only the branch taken runs."""
        axes = frozenset().union(*(self._axes(value) for value, _ in op.leaf.args))
        name = self._next_name(axes)
        word, known = "if", self.w.known
        for arg, branch in zip(op.args, op.leaf.args, strict=True):
            condition = branch[1]
            test = truth(self.w, condition)
            header = "else:" if condition == sympy.true else f"{word} {test}:"
            self._branch(name, header if word != "if" or header != "else:" else "if True:",
                         arg, branch, axes)
            self.w.known = (*self.w.known, sympy.Not(condition))
            word = "elif"
        if op.leaf.args[-1][1] != sympy.true:
            with self.w.block("else:"):
                self.w.say(f"{name} = {self._filled(Operand('0.0', literal=True), axes)}")
        self.w.known = known
        return Operand(name, axes)

    def _axes(self, value: sympy.Basic) -> frozenset[sympy.Symbol]:
        return frozenset(symbols_of([value]) & self.lowering.axes)

    def _branch(
        self, name: str, header: str, arg: Op, branch: tuple[sympy.Basic, sympy.Basic],
        axes: frozenset[sympy.Symbol],
    ) -> None:
        """One branch. What it takes, another branch or a later statement may need as it was."""
        expr, condition = branch
        memo, free, uses = self.memo, self.free, self.uses.copy()
        self.memo = {op: replace(o, temporary=False) for op, o in memo.items()}
        self.free, owned, self.owned = [], self.owned, frozenset()
        with self.w.block(header):
            self.w.known = (*self.w.known, condition)
            value = self._take(arg)
            self.w.say(f"{name} = {self._filled(value, axes)}")
        if not value.computed and not value.temporary:
            self.w.fresh -= {self.w.arrays[a.tensor].text for a in expr.atoms(Access)}
        self.memo, self.free, self.owned, self.uses = memo, free, owned, uses

    def _filled(self, value: Operand, axes: frozenset[sympy.Symbol]) -> str:
        """The text of a branch, as large as the other branches."""
        if value.axes == axes:
            return f"{self.w.scalar_type}({value.text})" if value.literal else value.text
        used = [r for r in self.frame if r.index in axes]
        first = self.frame.index(used[0])
        shape = tuple(r.size if r.index in axes else 1 for r in self.frame[first:])
        return f"np.full({self.w.shape(shape)}, {value.text}, {self.w.scalar_type})"


LEAVES = {"number", "truth", "access", "random", "index"}
FLAT = {*LEAVES, "cast", "indicator", "choose", "where", *OWN, *TRUTHS}


def truth(w: Writer, condition: sympy.Basic) -> str:
    """A condition without array axes as Python text."""
    return Evaluation(w, ()).of(condition).text
