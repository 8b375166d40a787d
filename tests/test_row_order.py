"""With several threads, what is done row by row comes first: they wait once for the rest."""

from __future__ import annotations

import re
from typing import Any

import gradwright as gw
from compiler.driver import lowered
from compiler.fuse import fuse
from compiler.row_order import rows_first
from ir.kernel import Kernel, Module, Step
from ir.program import Program


@gw.network
def perceptron(x: gw.f32["batch", 784], label: gw.i32["batch"]) -> Any:
    h = gw.relu(gw.dense(x, 100, name="a"))
    h = gw.relu(gw.dense(h, 200, name="b"))
    return gw.outputs(loss=gw.cross_entropy(gw.dense(h, 10, name="c"), label), scores=h)


def lowered_for(threads: int) -> Module:
    return lowered(perceptron, batch=64, optimizer=gw.sgd(lr=0.1), threads=threads)


def row_by_row(program: Program, step: Step) -> bool:
    assert isinstance(step, Kernel)
    assert program.batch is not None
    return bool(step.space) and step.space[0].size == program.batch.symbol


def program_of(threads: int = 1) -> Program:
    step = lowered_for(threads).step
    assert step is not None
    return step.program


def test_sums_over_the_batch_come_last() -> None:
    step = lowered_for(2).step
    assert step is not None
    found = [row_by_row(step.program, s) for s in step.steps]
    assert found == sorted(found, reverse=True)
    assert False in found


def test_one_thread_keeps_the_order_of_the_program() -> None:
    step = lowered_for(1).step
    assert step is not None
    assert [k.name for k in step.kernels()] == [
        k.name for k in fuse(step.program) if isinstance(k, Kernel)
    ]


def test_threads_wait_once_in_a_step() -> None:
    source = gw.emit(perceptron, batch=64, optimizer=gw.sgd(lr=0.1), threads=2)["perceptron.c"]
    (step,) = re.findall(r"(?ms)^int perceptron_train_step\(.*?^}", source)
    assert step.count("GW_WAIT") == 1


def test_nothing_is_read_before_it_is_there_or_after_it_changed() -> None:
    program = program_of()
    order = rows_first(program, fuse(program), lambda _: 0)
    assert set(order) == set(fuse(program))
    changed_by = {name: target for target, name in program.updates}
    there = set(program.tensors())
    for step in order:
        assert isinstance(step, Kernel)
        assert set(step.reads()) <= there
        there |= set(step.stored)
        there -= {changed_by[name] for name in step.stored if name in changed_by}


def test_an_order_that_takes_much_memory_is_not_taken() -> None:
    program = program_of()
    steps = fuse(program)
    assert rows_first(program, steps, lambda some: 100 if some == steps else 126) == steps
    assert rows_first(program, steps, lambda some: 100 if some == steps else 125) != steps
