"""The mutations: an area, a file, a text that stands in it once, and the mistake in its place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """One mistake. Its text must stand in the file exactly once."""

    area: str
    file: str
    old: str
    new: str

    def __str__(self) -> str:
        old, new = (" ".join(t.split()) for t in (self.old, self.new))
        return f"{self.file}: {old[:70]!r} -> {new[:70]!r}"


def _of(area: str, *edits: tuple[str, str, str]) -> tuple[Mutation, ...]:
    return tuple(Mutation(area, *edit) for edit in edits)


MUTATIONS = (
    *_of(
        "differentiation",
        (
            "compiler/chain.py",
            "body, conditions = cotangent * local, list(d.where)",
            "body, conditions = cotangent * local, []",
        ),
        (
            "compiler/chain.py",
            'if d.reduce == "max":\n        conditions',
            "if False:\n        conditions",
        ),
        ("compiler/chain.py", "if any(c == sympy.false for c in kept):", "if kept:"),
        (
            "compiler/chain.py",
            "sympy.Eq(walk.argmaxes[d.name].access(), d.position())",
            "sympy.Ne(walk.argmaxes[d.name].access(), d.position())",
        ),
        ("compiler/chain.py", "guarded = guard(term, kept)", "guarded = term"),
        ("compiler/adjoints.py", "sympy.Add(*terms),", "sympy.Add(*terms[:2]),"),
        (
            "compiler/differentiate.py",
            'Scan(f"d_{scan.group}", scan.index, not scan.downwards)',
            'Scan(f"d_{scan.group}", scan.index, scan.downwards)',
        ),
        (
            "compiler/differentiate.py",
            "for block in reversed(_blocks(program)):",
            "for block in _blocks(program):",
        ),
        (
            "compiler/differentiate.py",
            "if access.tensor in walk.needed and local != 0:",
            "if access.tensor in walk.needed and local != 0 and local != -1:",
        ),
    ),
    *_of(
        "index algebra",
        (
            "compiler/deltas.py",
            "if divisor > 1:\n            conditions.append(_divides(divisor, rest))",
            "if divisor > 2:\n            conditions.append(_divides(divisor, rest))",
        ),
        (
            "compiler/deltas.py",
            "if not facts.nonnegative(form):\n        found.append",
            "if False:\n        found.append",
        ),
        (
            "compiler/deltas.py",
            "sympy.Lt(form.expr(), size)",
            "sympy.Le(form.expr(), size)",
        ),
        (
            "compiler/deltas.py",
            "_equal(facts.simplified(_resolved(form, exact))) for form in system.kept",
            "sympy.true for form in system.kept",
        ),
        (
            "compiler/deltas.py",
            "first, last = -(-low // g), high // g",
            "first, last = low // g, high // g",
        ),
        (
            "compiler/deltas.py",
            "rest = -form.without(atom) if c > 0",
            "rest = -form.without(atom) if c < 0",
        ),
        (
            "compiler/deltas.py",
            "value = linear(quotient) + (0 if low is None else low // divisor)",
            "value = linear(quotient)",
        ),
        (
            "ir/affine.py",
            "value.const % divisor)\n    outside = outside + value.const // divisor",
            "value.const % divisor)\n    outside = outside + value.const % divisor",
        ),
        ("ir/affine.py", "return inside\n    if len", "return Linear()\n    if len"),
        ("ir/facts.py", "end = low if c > 0 else high", "end = low"),
        ("ir/facts.py", "return (0, int(size) - 1)", "return (0, int(size) - 2)"),
        ("ir/facts.py", "return [difference - 1]", "return [difference]"),
        (
            "ir/facts.py",
            "low % divisor, high % divisor) if inside",
            "low % divisor, high % divisor) if True",
        ),
        ("ir/facts.py", "most = c * (divisor - 1) if c > 0 else 0", "most = 0"),
        ("compiler/simplify.py", "kept = [c.xreplace(nothing) for c in conditions]", "kept = []"),
        (
            "compiler/simplify.py",
            "if not all(_safe(f, d, facts, program) for f in outer):",
            "if False:",
        ),
        (
            "compiler/prune.py",
            "return (d.reduce, sizes, body, where, target",
            "return (sizes, body, where, target",
        ),
    ),
    *_of(
        "stabilisation",
        (
            "compiler/outputs.py",
            "return (b - d * y) / (c * y - a)",
            "return (b + d * y) / (c * y - a)",
        ),
        (
            "compiler/outputs.py",
            "asked = condition.func(output, bound)",
            "asked = condition.func(bound, output)",
        ),
        (
            "compiler/stabilise.py",
            "body = safe(d.body * sympy.exp(-shift.access()))",
            "body = safe(d.body)",
        ),
        (
            "compiler/stabilise.py",
            "sympy.exp(Access(tensor_symbol(seen.shifts",
            "(Access(tensor_symbol(seen.shifts",
        ),
        (
            "compiler/safe_scalars.py",
            "(a + sympy.log(1 + sympy.exp(-a)), a > 0)",
            "(a + sympy.log(1 + sympy.exp(-a)), a < 0)",
        ),
        (
            "compiler/safe_scalars.py",
            "return first + _softplus(second - first)",
            "return first + _softplus(first - second)",
        ),
        (
            "compiler/safe_scalars.py",
            "small = (1 + constant * sympy.exp(-a)) ** -times",
            "small = (1 + sympy.exp(-a)) ** -times",
        ),
    ),
    *_of(
        "fusion",
        (
            "compiler/fuse.py",
            "if [r.size for r in d.indices] != [r.size for r in group.members[0].indices]:",
            "if len(d.indices) != len(group.members[0].indices):",
        ),
        (
            "compiler/fuse.py",
            "all(a.tensor not in members or a.indices == own for a in d.accesses())",
            "all(a.tensor not in members or len(own) for a in d.accesses())",
        ),
        (
            "compiler/fuse.py",
            "before[home[name]] |= readers.get(target, set())",
            "before[home[name]] |= set()",
        ),
        ("compiler/fuse.py", "if home is None or a != home.access():", "if home is None:"),
        (
            "compiler/fuse.py",
            "if any(a.tensor == target for m in group.members for a in accesses(m.body)):",
            "if False:",
        ),
        (
            "compiler/fuse.py",
            "return d.indices, d.over, d.where, d.body, d.scan",
            "return d.indices, d.over, d.body, d.scan",
        ),
    ),
    *_of(
        "memory plan",
        (
            "ir/placement.py",
            "t.first <= last and first <= t.last",
            "t.first < last and first < t.last",
        ),
        ("ir/placement.py", "if offset + item.size <= start:", "if offset <= start:"),
        ("ir/placement.py", "offset = max(offset, start + size)", "offset = max(offset, size)"),
        ("compiler/memory.py", "last[name] = number", "last.setdefault(name, number)"),
    ),
    *_of(
        "contractions",
        (
            "compiler/contraction.py",
            "inner = (Range(piece, length), *inner)",
            "inner = (Range(piece, length - 1), *inner)",
        ),
        (
            "compiler/operands.py",
            "return bool(asked) and all(known.nonnegative(form) for form in asked)",
            "return True",
        ),
        (
            "compiler/operands.py",
            "own_right = [p for p in for_right if p not in neither or to_right]",
            "own_right = []",
        ),
        (
            "compiler/loop_bounds.py",
            "_limit(loop.upper, _divided(rest, -c) + 1, facts, below=False)",
            "_limit(loop.upper, _divided(rest, -c), facts, below=False)",
        ),
        (
            "compiler/loop_bounds.py",
            "return Remainder((at_first * -inverse).expr(), divisor)",
            "return Remainder((at_first * inverse).expr(), divisor)",
        ),
        ("compiler/loop_bounds.py", "_divided(-rest + (c - 1), c)", "_divided(-rest, c)"),
    ),
    *_of(
        "tile shapes",
        ("codegen/c/tiles.py", "if plane.strip:", "if False:"),
        ("codegen/c/tiles.py", "if plane.shared and plane.by_columns:", "if False:"),
        ("codegen/c/tiles.py", "if plane.shared else lines\n", "if False else lines\n"),
        (
            "codegen/c/tiles.py",
            "return Wanted(lines, None, plane.flat)",
            "return Wanted(lines, None)",
        ),
        (
            "codegen/c/tiles.py",
            "return Wanted(lines, columns, plane.flat)",
            "return Wanted(lines, columns)",
        ),
        (
            "codegen/c/tiles.py",
            "_wanted(p, batch).lines, p.width)",
            "_wanted(p, batch).lines, p.run)",
        ),
        ("codegen/c/tiles.py", "least = FEW_ROWS if", "least = FEW_ROWS + 1 if"),
    ),
    *_of(
        "C templates",
        ("codegen/c/helpers.c.jinja", "return a / b - (a % b < 0);", "return a / b;"),
        ("codegen/c/helpers.c.jinja", "return a % b + (a % b < 0 ? b : 0);", "return a % b;"),
        (
            "codegen/c/helpers.c.jinja",
            "return b != b ? b : larger;",
            "return larger;",
        ),
        ("codegen/c/vectors.c.jinja", "    if (more) {", "    if (0) {"),
        (
            "codegen/c/contraction.c.jinja",
            "'lines.end - lines.first' if p.shared",
            "'height_of_all' if p.shared",
        ),
        (
            "codegen/c/contraction.c.jinja",
            "gw_least(end - at, {{ p.inner_size }})",
            "gw_least(end - at, {{ p.inner_size }} - 1)",
        ),
        (
            "codegen/c/contraction.c.jinja",
            "        if ({{ p.last }}) {\n{{ finish(p)",
            "        if (1) {\n{{ finish(p)",
        ),
        (
            "codegen/c/contraction.c.jinja",
            "        if ({{ p.last }}) {\n{{ along_sums(p)",
            "        if (1) {\n{{ along_sums(p)",
        ),
        ("codegen/c/module.c.jinja", "count - first < batch ? count - first : batch", "batch"),
    ),
    *_of(
        "NumPy templates",
        ("codegen/numpy/helpers.py.jinja", "np.where(allowed, best, first)", "best"),
        ("codegen/numpy/padding.py", "first * step - cover.low, last", "first * step, last"),
        (
            "codegen/numpy/padding.py",
            "return any(remainder(v, step)",
            "return True or any(remainder(v, step)",
        ),
        ("codegen/numpy/padding.py", 'w.say(f"{name}.fill({fill})")', 'w.say(f"{name}.fill(0)")'),
        ("codegen/numpy/index_values.py", 'text += " - " if c < 0 else " + "', 'text += " + "'),
        (
            "codegen/numpy/contraction.py",
            "home.masks = (*home.masks, mask)",
            "home.masks = (mask,)",
        ),
        ("codegen/numpy/contraction.py", "& group.axes - other.axes", "& group.axes"),
    ),
)
