"""Array statements from a graph of operations, overwriting temporaries where nobody needs them.

    np.subtract(z, m[:, None], out=t)
    np.exp(t, out=t)                # every statement knows the array it writes
    np.divide(t, s[:, None], out=t)

Numbers are written inline; arrays get a statement each, and a place in the workspace. An array that
this evaluation made is overwritten by the operation that uses it last. What depends on the number
of rows alone is made once for it. What NumPy lacks is a function of the emitted module.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import sympy

from codegen.numpy.gathers import positions
from codegen.numpy.index_values import arange, index_value, is_steady
from codegen.numpy.indexing import access
from codegen.numpy.inline import ARITHMETIC, FLAT, OWN, TRUTHS, ZERO, inline, is_off, number, picked
from codegen.numpy.ops import Lowering, Op
from codegen.numpy.padding import reachable
from codegen.numpy.writer import ATOM, COMPARED, Frame, Operand, Writer
from ir.affine import linear
from ir.expression import Access, Random, symbols_of


class Evaluation:
    """The statements of one body. Its first array gets `name`, a name that is reserved for it.

    `owned` are arrays of earlier statements that end here: they may be overwritten, unless the
    body reads them in two ways, where the second would find what the first left.
    """

    def __init__(
        self, w: Writer, frame: Frame, name: str = "", owned: frozenset[str] = frozenset(),
        real: bool = True,
    ) -> None:
        self.w, self.frame, self.name, self.owned = w, frame, name, owned
        self.lowering = Lowering(frozenset(r.index for r in frame), real)
        self.uses: Counter[Op] = Counter()
        self.memo: dict[Op, Operand] = {}
        self.free: list[Operand] = []
        self.named = not name

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
            self.w.say(f"{place}[...] = {self._apply(op.name, args).text}")

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
            if op.name == "index":
                operand = replace(operand, temporary=False)
            self.memo[op] = operand

    def _make(self, op: Op) -> Operand:
        match op.name:
            case "number":
                return number(op.leaf)
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
            return replace(held, temporary=False, indicator=True)
        if op.name == "add" and (marked := self._marked(op)) is not None:
            return marked
        if op.name == "logical_not" and self.uses[op.args[0]] == 1 and is_off(self.w, op.args[0]):
            op = Op("not_equal", op.args[0].args)
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
        if operand.constant:
            text = self.w.constant("held", f"{operand.text}.astype({kind})")
            return Operand(text, operand.axes, constant=True)
        return self._copied(operand.text, operand.axes)

    def _copied(self, text: str, axes: frozenset[sympy.Symbol]) -> Operand:
        """The values of another type in an array of the floating type."""
        place = self._new(axes)
        self.w.say(f"np.copyto({place}, {text})")
        return Operand(place, axes, temporary=True)

    # ------------------------------------------------------------ leaves

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
            return Operand(arange(self.w, axis, self.frame, kind), frozenset([axis]), constant=True)
        operand = index_value(self.w, form, self.frame)
        if operand.constant:
            text = self.w.constant("i", f"{operand.text}.astype({kind})")
            return Operand(text, operand.axes, constant=True)
        if operand.axes:
            return self._copied(operand.text, operand.axes)
        steady = is_steady(self.w, form, ())
        return Operand(f"{kind}({operand.text})", constant=steady)

    def _random(self, draw: Random) -> Operand:
        """A call of the emitted generator, on the indices as arrays."""
        given = [index_value(self.w, linear(e), self.frame) for e in draw.args]
        axes = frozenset().union(*(g.axes for g in given))
        listed = ", ".join(g.text for g in given)
        call = self.w.helper("random")
        if not axes:
            return Operand(f"{call}({listed})")
        place = self._new(axes)
        shape = self.w.places[place].shape
        work = [self.w.place(self.w.name("bits"), shape, "uint64") for _ in range(2)]
        self.w.say(f"{call}({listed}, out={place}, work=({', '.join(work)}))")
        return Operand(place, axes, temporary=True)

    # ------------------------------------------------------------ operations

    def _apply(self, name: str, args: list[Operand]) -> Operand:
        """One function: inline if it is a number, in place, or into a new array."""
        axes = frozenset().union(*(a.axes for a in args))
        if not axes:
            return inline(self.w, name, args)
        if all(a.constant or a.literal for a in args) and name not in OWN:
            return self._constant(inline(self.w, name, args))
        args = [self._scale(a) for a in args]
        if name in TRUTHS:
            return self._mask(name, args, axes)
        mine = [a for a in args if a.temporary and a.axes == axes]
        if name in OWN:
            return self._own(name, args[0])
        if mine:
            place = next((a for a in mine if a.text == self.name), mine[0])
            self.free += [a for a in mine if a.text != place.text]
        else:
            place = self._spare(axes)
        self._overwrite(name, args, place.text)
        return place

    def _constant(self, operand: Operand) -> Operand:
        """What depends on the number of rows alone, made once for it."""
        text = self.w.constant("where" if operand.tight == COMPARED else "fixed", operand.text)
        return Operand(text, operand.axes, constant=True)

    def _scale(self, operand: Operand) -> Operand:
        """A number that depends on the number of rows alone, by its name."""
        if operand.constant and not operand.axes and not operand.text.isidentifier():
            return replace(operand, text=self.w.constant("scale", operand.text), tight=ATOM)
        return operand

    def _spare(self, axes: frozenset[sympy.Symbol]) -> Operand:
        """A temporary that is not needed any more, or a new one."""
        spare = next((a for a in self.free if a.axes == axes), None)
        if spare is not None:
            self.free.remove(spare)
            return spare
        return Operand(self._new(axes), axes, temporary=True)

    def _new(self, axes: frozenset[sympy.Symbol], dtype: str = "") -> str:
        """A new array over some axes, under the evaluation's name if that is still free."""
        name = self.w.name("mask") if dtype == "bool" else self._next_name(axes)
        return self.w.place(name, self.w.spread(axes, self.frame), dtype or self.w.real)

    def _marked(self, op: Op) -> Operand | None:
        """`a + (c if j == label[n] else 0)`: one element of each row changes, the others stay."""
        for term, rest in (op.args, op.args[::-1]):
            place = picked(self.w, term, self.frame) if self.uses[term] == 1 else None
            if place is None:
                continue
            whole = self._solid(self._take(rest))
            if not whole.temporary or whole.axes != self.lowering.axes:
                made = self._spare(self.lowering.axes)
                self.w.say(f"np.copyto({made.text}, {whole.text})")
                whole = made
            added, (forms, frame) = self._scale(self._take(term.args[1])), place
            at = positions(self.w, forms, tuple(r.size for r in self.frame), frame)
            held = self.w.place(self.w.name("t"), tuple(r.size for r in frame), self.w.real)
            flat = self.w.flat(whole.text)
            self.w.say(
                f'np.take({flat}, {at}, out={held}, mode="clip")',
                f"np.add({held}, {added.text}, out={held})",
                f"{flat}[{at}] = {held}",
            )
            return whole
        return None

    def _mask(self, name: str, args: list[Operand], axes: frozenset[sympy.Symbol]) -> Operand:
        """A truth for each element; one made of another overwrites it."""
        mine = [a.text for a in args if a.temporary and a.axes == axes and self._is_mask(a.text)]
        place = mine[0] if mine else self._new(axes, "bool")
        self._overwrite(name, args, place)
        return Operand(place, axes, temporary=True)

    def _is_mask(self, text: str) -> bool:
        return text in self.w.places and self.w.places[text].dtype == "bool"

    def _own(self, name: str, arg: Operand) -> Operand:
        """A function of the emitted module, with arrays to work in."""
        place = Operand(self._new(arg.axes), arg.axes, temporary=True)
        shape = self.w.places[place.text].shape
        work = [self.w.place(self.w.name("t"), shape, self.w.real) for _ in range(2)]
        call = f"{self.w.helper(name)}({arg.text}"
        if name == "erf" and self.w.real == "float32":
            self.w.say(f"{call}, out={place.text}, work=({', '.join(work)}))")
        else:
            self.w.say(f"np.copyto({place.text}, {call}))")
        return place

    def _overwrite(self, name: str, args: list[Operand], place: str) -> None:
        """`np.add(a, b, out=place)`."""
        listed = ", ".join(a.text for a in args)
        self.w.say(f"np.{name}({listed}, out={place})")

    def _where(self, args: list[Operand]) -> Operand:
        condition, value, other = args
        if value.literal and other.literal and self.lowering.real:
            value = Operand(f"{self.w.scalar_type}({value.text})", constant=True)
        axes = frozenset().union(*(a.axes for a in args))
        if not axes:
            return Operand(f"({value.text} if {condition.text} else {other.text})")
        if all(a.constant or a.literal for a in (condition, value, other)):
            text = f"np.where({condition.text}, {value.text}, {other.text})"
            return self._constant(Operand(text, axes))
        if not condition.axes:
            return self._chosen(condition, value, other, axes)
        if other.text in ZERO and value.axes:
            return self._masked(condition, value, axes)
        if other.text in ZERO and self.lowering.real:
            place = self._spare(axes)
            self.w.say(f"np.multiply({condition.text}, {value.text}, out={place.text})")
            return place
        if value.text in ZERO and other.axes:
            return self._masked(self._apply("logical_not", [condition]), other, axes)
        return self._chosen(condition, value, other, axes)

    def _chosen(
        self, condition: Operand, value: Operand, other: Operand, axes: frozenset[sympy.Symbol]
    ) -> Operand:
        """The other value, then over it the value where the condition holds."""
        dtype = "" if self.lowering.real else "int64"
        inside = other.temporary and other.axes == axes
        place = other if inside else Operand(self._new(axes, dtype), axes, temporary=True)
        if not inside:
            self.w.say(f"np.copyto({place.text}, {other.text})")
        self.w.say(f"np.copyto({place.text}, {value.text}, where={condition.text})")
        self.free += [a for a in (value,) if a.temporary and not self._is_mask(a.text)]
        return place

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
        word = "int32" if self.w.real == "float32" else "int64"
        shape = self.w.spread(condition.axes, self.frame)
        bits = self.w.place(self.w.name("bits"), shape, word)
        whole = value.temporary and value.axes == axes
        place = value if whole else Operand(self._new(axes), axes, temporary=True)
        call = self.w.helper("masked")
        self.w.say(f"{call}({condition.text}, {value.text}, bits={bits}, out={place.text})")
        return place

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
        if not value.temporary:
            self.w.fresh -= {self.w.arrays[a.tensor].text for a in expr.atoms(Access)}
        self.memo, self.free, self.owned, self.uses = memo, free, owned, uses

    def _filled(self, value: Operand, axes: frozenset[sympy.Symbol]) -> str:
        """The text of a branch, as large as the other branches."""
        if value.axes == axes:
            return f"{self.w.scalar_type}({value.text})" if value.literal else value.text
        place = self.w.place(self.w.name("t"), self.w.spread(axes, self.frame), self.w.real)
        self.w.say(f"np.copyto({place}, {value.text})")
        return place


def truth(w: Writer, condition: sympy.Basic) -> str:
    """A condition without array axes as Python text."""
    return Evaluation(w, ()).of(condition).text
