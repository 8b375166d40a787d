"""The memory plan: nothing that lives at the same time overlaps, and storage is used again."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy import Expr

from compiler.memory import in_place, plan, size_in_bytes, temporaries
from ir.errors import ShapeError
from ir.expression import Access, index_symbol, size_symbol, tensor_symbol
from ir.kernel import Kernel, Loop
from ir.placement import Lifetime, placed
from ir.program import Batch, Definition, DType, Program, Range, Scan, Tensor

BATCH = size_symbol("batch")
n, j, k, t = (index_symbol(name) for name in "njkt")


def chain(count: int, width: int = 100) -> Program:
    """t1 = 2*x, t2 = 2*t1, ...: each read by the next alone."""
    ranges = (Range(n, BATCH), Range(j, width))
    names = ["x", *(f"t{i}" for i in range(1, count + 1))]
    definitions = tuple(
        Definition(name, "float32", ranges, 2 * Access(tensor_symbol(before, "float32"), n, j))
        for before, name in zip(names, names[1:], strict=False)
    )
    return Program(
        "chain", Batch(BATCH, 8), inputs=(Tensor("x", (BATCH, width), "float32", "input"),),
        definitions=definitions, outputs=(("out", names[-1]),),
    )  # fmt: skip


def kernels(program: Program) -> tuple[Kernel, ...]:
    return tuple(Kernel(d.name, d.indices, (d,), (d.name,)) for d in program.definitions)


def test_a_chain_needs_two_places() -> None:
    program = chain(10)
    offsets, workspace, total = plan(program, kernels(program))
    one = 8 * 100 * 4
    assert size_in_bytes(program, "t1") == one
    assert set(offsets) == {f"t{i}" for i in range(1, 10)}, "the output belongs to the caller"
    assert workspace == 2 * one
    assert total == 9 * one


def test_offsets_are_aligned_and_of_the_largest_batch() -> None:
    program = chain(5, width=3)
    offsets, workspace, _ = plan(program, kernels(program))
    assert all(offset % 64 == 0 for offset in offsets.values())
    assert workspace == 2 * 128, "8 rows of 3 floats are 96 bytes, two cache lines"


def test_nothing_to_plan() -> None:
    program = chain(1)
    assert plan(program, kernels(program)) == ({}, 0, 0)


def test_a_recurrence_is_one_step() -> None:
    """Everything inside a loop lives from its first turn to its last."""
    scan = Scan("g", t)
    ranges = (Range(t, 5), Range(n, BATCH))
    a, b, c = (tensor_symbol(name, "float32") for name in "abc")
    first = Definition("a", "float32", ranges, Access(tensor_symbol("x", "float32"), n), scan=scan)
    second = Definition("b", "float32", ranges, Access(a, t, n), scan=scan)
    after = Definition("c", "float32", ranges, Access(b, t, n) + 1)
    last = Definition("d", "float32", ranges, Access(c, t, n) + 1)
    program = Program(
        "loop", Batch(BATCH, 16), inputs=(Tensor("x", (BATCH,), "float32", "input"),),
        definitions=(first, second, after, last), outputs=(("d", "d"),),
    )  # fmt: skip
    inside = tuple(Kernel(d.name, d.indices[1:], (d,), (d.name,)) for d in (first, second))
    outside = tuple(Kernel(d.name, d.indices, (d,), (d.name,)) for d in (after, last))
    steps = (Loop("g", t, 5, False, inside), *outside)
    assert [(v.first, v.last) for v in temporaries(program, steps)] == [(0, 0), (0, 1), (1, 2)]
    offsets, workspace, _ = plan(program, steps)
    assert offsets["a"] != offsets["b"]
    assert workspace == 2 * 5 * 16 * 4


def test_an_array_that_no_address_reaches() -> None:
    program = chain(3, width=2**60)
    with pytest.raises(ShapeError, match=r"x of shape \(8, 1152921504606846976\) would take") as e:
        plan(program, kernels(program))
    assert "fix: compile with a smaller batch" in str(e.value)


def test_a_chain_in_place_needs_one_place() -> None:
    program = chain(10)
    steps = in_place(program, kernels(program))
    replaced = [pair for s in steps if isinstance(s, Kernel) for pair in s.replaces]
    assert replaced == [(f"t{i + 1}", f"t{i}") for i in range(1, 9)], (
        "not the input, not the output"
    )
    offsets, workspace, total = plan(program, steps)
    assert set(offsets.values()) == {0}
    assert (workspace, total) == (8 * 100 * 4, 9 * 8 * 100 * 4)


def line(
    name: str, body: Expr, *, width: int = 6, dtype: DType = "float32", **more: Any
) -> Definition:
    return Definition(name, dtype, (Range(n, BATCH), Range(j, width)), body, **more)


a, b, c, x = (tensor_symbol(name, "float32") for name in "abcx")
FIRST = line("a", Access(x, n, j) + 1)


@pytest.mark.parametrize(
    ("second", "fits"),
    [
        (line("b", 2 * Access(a, n, j)), True),
        (line("b", Access(a, n, 5 - j)), False),
        (line("b", Access(a, n, j) * Access(a, n, 0)), False),
        (line("b", Access(a, n, j), width=5), False),
        (line("b", Access(a, n, j), dtype="float64"), False),
        (line("b", Access(a, n, k), reduce="sum", over=(Range(k, 6),)), False),
        (line("b", Access(a, n, j) * Access(x, n, k), reduce="sum", over=(Range(k, 6),)), False),
    ],
    ids=["point", "mirror", "another", "narrower", "wider type", "row", "in a sum"],
)
def test_what_is_written_in_place(second: Definition, fits: bool) -> None:
    last = line("c", Access(b, n, j) + 1, width=second.indices[1].size)
    program = replace(chain(1), definitions=(FIRST, second, last), outputs=(("c", "c"),))
    program = replace(program, inputs=(Tensor("x", (BATCH, 6), "float32", "input"),))
    made = in_place(program, kernels(program))
    assert [s.replaces for s in made if isinstance(s, Kernel)] == [
        (), (("b", "a"),) if fits else (), ()
    ]  # fmt: skip


def test_nothing_is_overwritten_before_it_is_read() -> None:
    """In one kernel a later member still reads a; and a tensor has one heir."""
    late = (FIRST, line("b", 2 * Access(a, n, j)), line("c", Access(a, n, j) + Access(b, n, j)))
    after = line("d", Access(b, n, j) + Access(c, n, j))
    program = replace(chain(1), definitions=(*late, after), outputs=(("d", "d"),))
    program = replace(program, inputs=(Tensor("x", (BATCH, 6), "float32", "input"),))
    point = FIRST.indices
    steps = (
        Kernel("a", point, (late[0],), ("a",)),
        Kernel("b", point, late[1:], ("b", "c")),
        Kernel("d", point, (after,), ("d",)),
    )
    made = in_place(program, steps)
    assert [s.replaces for s in made if isinstance(s, Kernel)] == [(), (("c", "a"),), ()]
    offsets, _, _ = plan(program, made)
    assert offsets["c"] == offsets["a"] != offsets["b"]


lifetimes = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=20
)


@given(lifetimes)
def test_what_lives_together_lies_apart(items: list[tuple[int, int, int]]) -> None:
    made = [
        Lifetime(f"v{i}", size * 64, min(a, b), max(a, b)) for i, (size, a, b) in enumerate(items)
    ]
    offsets, end = placed(made)
    assert end <= sum(item.size for item in made)
    for one, two in combinations(made, 2):
        p, q = offsets[one.name], offsets[two.name]
        apart = p + one.size <= q or q + two.size <= p
        assert apart or one.last < two.first or two.last < one.first
