"""Networks: the decorator, shaped annotations, outputs, and the way from a function to a `Program`.

    @gw.network
    def mnist_mlp(x: gw.f32["batch", 784], label: gw.i32["batch"]):
        ...
        return gw.outputs(loss=loss, logits=logits)

The function runs once a compilation, on symbolic tensors; no numbers flow. `Network.trace` gives
the forward program: definitions in the order they were written, those that nothing reads left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sympy import Symbol

from compiler.inline import inlined
from compiler.notation import Tensor
from compiler.source import caller, of_function
from compiler.trace import Trace, current, tracing
from ir.errors import GradwrightError, Origin, ShapeError, bounded_depth
from ir.names import check_name
from ir.program import Batch, DType, Program, Shape
from ir.program import Tensor as Declared


@dataclass(frozen=True, slots=True)
class Annotation:
    """A dtype with sizes: `gw.f32["batch", 784]`. A string is the batch, `()` a scalar."""

    dtype: DType
    sizes: tuple[int | str, ...] | None = None

    def __getitem__(self, sizes: Any) -> Annotation:
        given = sizes if isinstance(sizes, tuple) else (sizes,)
        for size in given:
            if (
                isinstance(size, bool)
                or not isinstance(size, (int, str))
                or (isinstance(size, int) and size < 1)
            ):
                raise ShapeError(
                    f"{size!r} is not a size",
                    at=caller()[0],
                    fix="a size is a positive integer, or the name of the batch: "
                    'gw.f32["batch", 784]',
                )
        return Annotation(self.dtype, given)


f32 = Annotation("float32")
f64 = Annotation("float64")
i32 = Annotation("int32")
i64 = Annotation("int64")


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network returns: its loss, if it has one, and its other outputs by name."""

    loss: Tensor | None
    others: dict[str, Tensor]


def outputs(*, loss: Tensor | None = None, **others: Tensor) -> Outputs:
    """`return gw.outputs(loss=..., logits=...)`: the loss is a scalar; the other names are free."""
    at = caller()[0]
    for name, tensor in {**others, **({"loss": loss} if loss is not None else {})}.items():
        check_name(name, "output", at)
        if not isinstance(tensor, Tensor):
            raise GradwrightError(
                f"output {name} is {type(tensor).__name__}, not a tensor",
                at=at,
                fix="make it one with gw.define",
            )
    if loss is not None and loss.shape:
        raise ShapeError(
            f"the loss must be a scalar, got {loss!r}",
            at=at,
            notes=(f"{loss.name} has one value for each of {list(loss.shape)}",),
            fix="reduce it: gw.define((), gw.mean(t[n], over=n))",
        )
    return Outputs(loss, others)


@dataclass(frozen=True)
class Network:
    """A traced function. `name` is the function's; `trace` makes its forward program."""

    name: str
    function: Callable[..., Outputs]
    origin: Origin

    def trace(
        self, *, dtype: str | None = None, batch: int | None = None, training: bool = True
    ) -> Program:
        """The forward program, in the given floating type (default: that of the annotations).

        `training` traces what the loss is made of; False, the outputs in use (no dropout).
        """
        return self.traced(dtype=dtype, batch=batch, training=training)[0]

    def traced(
        self, *, dtype: str | None = None, batch: int | None = None, training: bool = True
    ) -> tuple[Program, bool]:
        """The forward program, and whether it depends on `training`."""
        trace = Trace(self.name, _real(self._annotations(), dtype, self.origin), training=training)
        with tracing(trace), bounded_depth(self.origin):
            arguments = [self._declare(n, a, trace) for n, a in self._annotations().items()]
            returned = self.function(*arguments)
        if not isinstance(returned, Outputs):
            raise GradwrightError(
                f"{self.name} returned {type(returned).__name__}",
                at=self.origin,
                fix="return gw.outputs(loss=…, name=…)",
            )
        return _program(self, trace, returned, batch), trace.depends_on_mode

    def __call__(self, *arguments: Tensor) -> Any:
        """Inline this network into the one being traced.

        The result has its outputs as attributes; parameters of the same name are shared.
        """
        trace = current()
        program, depends = self.traced(dtype=trace.real, training=trace.training)
        trace.depends_on_mode |= depends
        return inlined(program, arguments, trace, caller()[0])

    def _annotations(self) -> dict[str, Annotation]:
        try:
            given = inspect.get_annotations(self.function, eval_str=True)
        except NameError as error:
            raise ShapeError(
                f"an annotation of {self.name} names {error.name!r}, which is not a global",
                at=self.origin,
                fix="remove `from __future__ import annotations` from this file",
            ) from None
        found = {}
        for name in inspect.signature(self.function).parameters:
            annotation = given.get(name)
            if not isinstance(annotation, Annotation) or annotation.sizes is None:
                raise ShapeError(
                    f"argument {name} of {self.name} has no shape",
                    at=self.origin,
                    fix=f'annotate it: {name}: gw.f32["batch", 784]',
                )
            found[name] = annotation
        return found

    def _declare(self, name: str, annotation: Annotation, trace: Trace) -> Tensor:
        trace.claim(name, "input", self.origin)
        sizes = annotation.sizes or ()
        shape: Shape = tuple(trace.size(s, self.origin) if isinstance(s, str) else s for s in sizes)
        dtype = trace.real if annotation.dtype.startswith("float") else annotation.dtype
        trace.tensors[name] = Declared(name, shape, dtype, "input", self.origin)
        return Tensor(name, shape, dtype)


def network(function: Callable[..., Outputs]) -> Network:
    """Declare a network.

        @gw.network
        def net(x: gw.f32["batch", 784], label: gw.i32["batch"]):
            logits = gw.dense(x, 10, name="fc")
            return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)

    Inputs are annotated with type and shape; what `gw.outputs` returns is the result. The function
    is not run here, but once for each compilation. Raises InvalidNameError for a name that emitted
    source cannot have.
    """
    code = function.__code__
    origin = of_function(code.co_filename, code.co_firstlineno)
    return Network(check_name(function.__name__, "network", origin), function, origin)


def _real(annotations: dict[str, Annotation], dtype: str | None, at: Origin) -> DType:
    if dtype is not None:
        if dtype not in ("float32", "float64"):
            raise GradwrightError(f"dtype {dtype!r} is not float32 or float64", at=at)
        return dtype  # type: ignore[return-value]
    found = sorted({a.dtype for a in annotations.values() if a.dtype.startswith("float")})
    if len(found) > 1:
        raise GradwrightError(
            "inputs of both float32 and float64",
            at=at,
            fix="annotate them alike, or compile with dtype=",
        )
    return found[0] if found else "float32"


def _program(network: Network, trace: Trace, returned: Outputs, batch: int | None) -> Program:
    named = dict(returned.others)
    if returned.loss is not None:
        named["loss"] = returned.loss
    for name, tensor in named.items():
        if tensor.name not in trace.definitions:
            raise GradwrightError(
                f"output {name} is not a tensor that {network.name} defines",
                at=network.origin,
                fix="return a tensor made with gw.define or an op",
            )
    results = {name: tensor.name for name, tensor in named.items()}
    loss = results.pop("loss", None)
    declared = trace.tensors.values()
    symbol: Symbol | None = trace.batch
    return Program(
        name=network.name,
        batch=Batch(symbol, batch) if symbol is not None else None,
        inputs=tuple(t for t in declared if t.role == "input"),
        parameters=tuple(t for t in declared if t.role == "parameter"),
        state=tuple(t for t in declared if t.role == "state"),
        updates=tuple(trace.updates.items()),
        definitions=tuple(trace.definitions.values()),
        outputs=tuple(results.items()),
        loss=loss,
        limits=dict(trace.limits),
        origin=network.origin,
    )
