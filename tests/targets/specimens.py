"""The networks of examples/ as modules small enough to be run under any tool, for tests of the C.

    for s in SPECIMENS: s.module()      # a lowered module, ready to be emitted

`SPECIMENS` has at least one network of every file of examples/, which a test compares with the
folder, and two that no example has: an LSTM, and `mixed`, which has every function that the emitted
C computes by itself. Sizes are small: a sanitizer or an emulator slows a program down tenfold.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import sympy

import gradwright as gw
from codegen.c.emit import emit as emit_c
from codegen.numpy.emit import emit as emit_numpy
from compiler.driver import lowered
from compiler.schedule import loop_nest
from ir.kernel import Module

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@gw.network
def lstm(x: gw.f32["batch", 7, 6], label: gw.i32["batch"]):
    _, (last, _) = gw.lstm(x, 12, name="cell")
    logits = gw.dense(gw.select(last, 0, 0), 5, name="head")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)


@gw.network
def mixed(x: gw.f32["batch", 24], label: gw.i32["batch"]):
    h = gw.gelu(gw.layer_norm(gw.dense(x, 40, name="first"), name="norm"))
    h = gw.dropout(gw.tanh(gw.dense(h, 30, name="second")), 0.1)
    h = gw.add(h, gw.embedding(label, 5, 30, name="table"))
    n, j = gw.indices("n j")
    square = h[n, j] ** 2
    h = gw.define((n, j), sympy.log(1 + square) + (1 + square) ** sympy.Rational(7, 10))
    logits = gw.dense(h, 5, name="third")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)


@dataclass(frozen=True, slots=True)
class Specimen:
    """A network of examples/FILE.py (or of this file), and how it is compiled."""

    file: str
    name: str
    arguments: tuple[int, ...] = ()
    batch: int = 3
    optimizer: gw.Optimizer | None = None

    def module(
        self, *, dtype: str | None = None, portable: bool = False, threads: int = 1, batch: int = 0
    ) -> Module:
        """The module at the specimen's batch; `dtype` overrides the network's own."""
        return lowered(
            self.network(),
            batch=batch or self.batch,
            dtype=dtype,
            optimizer=self.optimizer,
            portable=portable,
            threads=threads,
        )

    def texts(self) -> dict[str, str]:
        """What is emitted for both targets, by file name."""
        module = self.module()
        return emit_c(module, loop_nest) | emit_numpy(module)

    def network(self) -> gw.Network:
        """The network: a name of the file, or what a function there makes of the arguments."""
        found = getattr(example(self.file), self.name) if self.file else globals()[self.name]
        return found(*self.arguments) if self.arguments else found

    @property
    def id(self) -> str:
        return "-".join([self.file or "here", self.name, *map(str, self.arguments)])


@cache
def example(file: str) -> ModuleType:
    """A file of examples/, imported by its path."""
    path = EXAMPLES / f"{file}.py"
    spec = importlib.util.spec_from_file_location(f"specimen_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SPECIMENS = (
    Specimen("computational_graph", "graph"),
    Specimen("convolution", "convolution", (2, 1), optimizer=gw.sgd(lr=1e-6)),
    Specimen("convolution", "edges"),
    Specimen("derivative_at_a_point", "square"),
    Specimen("derivative_at_a_point", "sum_of_squares"),
    Specimen("finite_difference_descent", "network_2_3_1"),
    Specimen("image_classifier_by_hand", "classifier", (16,)),
    Specimen("image_classifier_by_hand", "ten_sigmoids", optimizer=gw.adagrad(lr=0.1)),
    Specimen("index_calculus", "composed", optimizer=gw.sgd(lr=1e-7)),
    Specimen("lenet5", "lenet5", optimizer=gw.adam(lr=0.002)),
    Specimen("linear_regression", "regression", batch=20),
    Specimen("max_pooling", "max_pooling"),
    Specimen("mnist_mlp", "mnist_mlp", batch=9, optimizer=gw.sgd(lr=0.1)),
    Specimen("one_weight", "network_2_3_1"),
    Specimen("small_gpt", "gpt", (2, 32, 2, 8), 3, gw.adamw(lr=0.001, clip_norm=1.0)),
    Specimen("tensor_used_twice", "by_element"),
    Specimen("tensor_used_twice", "by_matrix"),
    Specimen("three_or_seven", "linear_model", (30,), 5),
    Specimen("two_convolutions", "two_convolutions", batch=2, optimizer=gw.rmsprop(lr=0.001)),
    Specimen("vgg16", "small_vgg", batch=2),
    Specimen("c/digits_mlp", "digits_mlp", batch=5, optimizer=gw.momentum(lr=0.05)),
    Specimen("", "lstm", batch=4, optimizer=gw.adam(lr=0.01)),
    Specimen("", "mixed", batch=16, optimizer=gw.adam(lr=0.01)),
)
REFERENCES = ("mnist_mlp", "lenet5", "gpt", "lstm", "mixed")  # their names, where a few are enough
