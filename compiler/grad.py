"""The gradient of a network is a network.

    g = gw.grad(regression, wrt="W")            # outputs: those of regression, its loss, and d_W

    @gw.network
    def curvature(x: gw.f64["batch", 3], y: gw.f64["batch", 1]):
        d = gw.grad(regression, wrt="W")(x, y).d_W      # called inside a network, it is inlined
        return gw.outputs(loss=gw.define((), gw.sum(d[k, j] * v[k, j], over=(k, j))))

The loss of `curvature` is (gradient · v); its own gradient is the Hessian times v.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compiler.network import Network
from compiler.pipeline import with_gradients, with_tangents
from ir.names import identifier
from ir.program import Program


@dataclass(frozen=True)
class GradientNetwork(Network):
    """A network whose outputs are another's, its loss, and its loss's gradients."""

    base: Network
    wrt: tuple[str, ...] | None

    def traced(
        self, *, dtype: str | None = None, batch: int | None = None, training: bool = True
    ) -> tuple[Program, bool]:
        """The base's program with its adjoints; the gradients are outputs, and there is no loss.

        The base is traced as it is trained: its gradient is that of its loss.
        """
        forward, _ = self.base.traced(dtype=dtype, batch=batch, training=True)
        program = with_gradients(forward, self.wrt)
        outputs = [*program.outputs, ("loss_value", program.loss or "")]
        outputs += [(f"d_{identifier(of)}", name) for of, name in program.gradients]
        bare = replace(program, name=self.name, loss=None, gradients=(), outputs=tuple(outputs))
        return bare, False


def grad(network: Network, *, wrt: str | Sequence[str] | None = None) -> GradientNetwork:
    """A network with the gradients of `network`'s loss as outputs: `gw.grad(mlp, wrt="fc1.W")`.

    The output is `d_NAME`, dots as underscores: the gradient by fc1.W is `d_fc1_W`. The loss is
    output `loss_value`. By default there is a gradient for every parameter that trains. Raises
    DifferentiationError, when traced, if there is no loss or no such tensor.
    """
    names = (wrt,) if isinstance(wrt, str) else None if wrt is None else tuple(wrt)
    return GradientNetwork(f"{network.name}_grad", network.function, network.origin, network, names)


@dataclass(frozen=True)
class TangentNetwork(Network):
    """A network that also carries tangents forward."""

    base: Network
    wrt: tuple[str, ...]

    def traced(
        self, *, dtype: str | None = None, batch: int | None = None, training: bool = True
    ) -> tuple[Program, bool]:
        """The base's program with its tangents; there is no loss."""
        forward, depends = self.base.traced(dtype=dtype, batch=batch, training=training)
        program = with_tangents(forward, self.wrt)
        return replace(program, name=self.name), depends


def jvp(network: Network, *, wrt: str | Sequence[str]) -> TangentNetwork:
    """A network with a tangent input t_NAME for each name in `wrt`, and an output t_NAME a result.

    With reverse mode inside (`gw.grad`), this gives Hessian-vector products in one forward sweep.
    """
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    return TangentNetwork(f"{network.name}_jvp", network.function, network.origin, network, names)
