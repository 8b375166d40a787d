"""Layers and shape ops with their options: one table, read by gradwright, by NumPy and by torch.

    network = bundle(["conv1d", "conv1d_same"])   # each has an input, an output, part of the loss

A case reads `t.x`, its own input with a symbolic batch times its own parameter `CASE.scale`; more
operands are parameters `CASE.…`, or integers. Outputs are multiplied by fixed numbers and summed,
so that no two elements have the same cotangent.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

import gradwright as gw

ROWS = 3
Ours = Callable[["Operands"], gw.Tensor]


@dataclass(frozen=True, slots=True)
class Case:
    """An op and its options; `x` is its operand's shape behind the batch; 0 in `ids`: the batch."""

    op: str
    x: tuple[int, ...]
    ours: Ours
    ids: tuple[int, ...] | None = None


CASES: dict[str, Case] = {}
SHORT = {"multi_head_attention": "mha", "scaled_dot_product_attention": "attention"}


def case(
    op: str, *x: int, name: str = "", ids: tuple[int, ...] | None = None
) -> Callable[[Ours], Ours]:
    """Register a case; its name is the op's, and what tells it from the op's others."""

    def register(ours: Ours) -> Ours:
        short = SHORT.get(op, op)
        CASES[f"{short}_{name}" if name else short] = Case(op, x, ours, ids)
        return ours

    return register


@dataclass(frozen=True, slots=True)
class Operands:
    """What a case may read."""

    name: str
    x: gw.Tensor
    ids: gw.Tensor | None

    @property
    def batch(self) -> Any:
        return self.x.shape[0]

    def param(self, name: str, *shape: int) -> gw.Tensor:
        return gw.param(f"{self.name}.{name}", shape, gw.normal())

    def fixed(self, name: str, value: Any) -> gw.Tensor:
        """Numbers that are given."""
        array = np.asarray(value, dtype=np.float64)
        return gw.param(f"{self.name}.{name}", array.shape, gw.constant(array), trainable=False)

    def rows(self, name: str, *shape: int) -> gw.Tensor:
        """A parameter, the same for every row."""
        own = self.param(name, *shape)
        loops = [gw.index(f"a{d}", s) for d, s in enumerate(shape)]
        return gw.define((gw.index("n", self.batch), *loops), own[tuple(loops)])

    def integers(self, values: Any, *, rows: bool, name: str = "fixed_table") -> gw.Tensor:
        """Fixed integers, as the places of ones in a table; `rows` repeats them for each row."""
        given = np.asarray(values)
        table = self.fixed(name, np.eye(int(given.max()) + 1)[given])
        loops = [gw.index(f"a{d}", s) for d, s in enumerate(given.shape)]
        k = gw.index("k", int(given.max()) + 1)
        lead = (gw.index("n", self.batch),) if rows else ()
        return gw.define((*lead, *loops), gw.argmax(table[(*loops, k)], over=k))


def bundle(names: Sequence[str]) -> gw.Network:
    """The cases as one network: each is an output, with an input `CASE_x`."""

    def body(*given: gw.Tensor) -> Any:
        inputs = dict(zip(annotations, given, strict=True))
        made, total = {}, sympy.S.Zero
        for name in names:
            out = CASES[name].ours(_operands(name, inputs))
            made[f"{name}_out"] = out
            total += _weighted(out)
        return gw.outputs(loss=gw.define((), total, name="total"), **made)

    annotations = {}
    for name in names:
        annotations[f"{name}_x"] = gw.f64["batch", *CASES[name].x]
        ids = CASES[name].ids
        if ids is not None:
            annotations[f"{name}_ids"] = gw.i32["batch", *ids[1:]] if ids[0] == 0 else gw.i32[ids]
    body.__name__ = "bundle"
    body.__annotations__ = annotations
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    body.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in annotations])  # type: ignore[attr-defined]
    return gw.network(body)


def _operands(name: str, inputs: dict[str, gw.Tensor]) -> Operands:
    x = inputs[f"{name}_x"]
    scale = gw.param(f"{name}.scale", CASES[name].x, gw.uniform(0.5, 1.5))
    return Operands(name, gw.mul(x, scale, name=f"{name}_h"), inputs.get(f"{name}_ids"))


def cotangent(shape: tuple[int, ...]) -> np.ndarray:
    """cos(1 + position), row-major."""
    return np.cos(1.0 + np.arange(math.prod(shape))).reshape(shape)


def _weighted(out: gw.Tensor) -> Any:
    loops = [gw.index(f"z{d}", size) for d, size in enumerate(out.shape)]
    position = sympy.S.Zero
    for loop, size in zip(loops, out.shape, strict=True):
        position = position * size + loop
    return gw.sum(out[tuple(loops)] * sympy.cos(1 + position), over=loops)


def arrays(names: Sequence[str], seed: int = 0) -> dict[str, np.ndarray]:
    """Numbers for the inputs of a bundle."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for name in names:
        found[f"{name}_x"] = rng.normal(size=(ROWS, *CASES[name].x))
        ids = CASES[name].ids
        if ids is not None:
            shape = (ROWS, *ids[1:]) if ids[0] == 0 else ids
            found[f"{name}_ids"] = rng.integers(0, 4, shape, dtype=np.int32)
    return found


def parameters(model: Any, seed: int = 1) -> dict[str, np.ndarray]:
    """Initial parameters with noise, so that no bias is 0 and no scale 1; fixed numbers stay."""
    rng = np.random.default_rng(seed)
    found = model.init_params(seed=0)
    for name, value in found.items():
        if ".fixed" not in name:
            value += 0.3 * rng.normal(size=value.shape)
        if name.endswith("running_var"):
            np.abs(value, out=value)
    return found


# ---------------------------------------------------------------- dense layers


@case("dense", 4)
def _(t: Operands) -> gw.Tensor:
    return gw.dense(t.x, 3, name=t.name)


@case("linear", 2, 4)
def _(t: Operands) -> gw.Tensor:
    return gw.linear(t.x, 3, name=t.name, bias=False)


@case("matmul", 2, 4)
def _(t: Operands) -> gw.Tensor:
    return gw.matmul(t.x, t.rows("y", 4, 3))


@case("matmul", 2, 4, name="matrix")
def _(t: Operands) -> gw.Tensor:
    return gw.matmul(t.x, t.param("y", 4, 3))


@case("matmul", 1, 2, 4, name="broadcast")
def _(t: Operands) -> gw.Tensor:
    return gw.matmul(t.x, t.param("y", 1, 3, 4, 2))


@case("matmul", 2, 4, name="vector")
def _(t: Operands) -> gw.Tensor:
    return gw.matmul(gw.matmul(t.param("z", 2), t.x), t.param("y", 4))


@case("embedding", 3, 2, ids=(0, 3))
def _(t: Operands) -> gw.Tensor:
    return gw.mul(gw.embedding(t.ids, 4, 2, name=t.name), t.x)


@case("embedding", 2, name="padding_idx", ids=(5,))
def _(t: Operands) -> gw.Tensor:
    e = gw.embedding(t.ids, 4, 2, padding_idx=-1, name=t.name)
    return gw.mul(e, gw.reshape(t.x, (-1, 1, 2)))


# ---------------------------------------------------------------- convolutions


def layer(op: str, x: tuple[int, ...], name: str, *args: Any, **options: Any) -> None:
    """A case of an op that is called as `gw.op(x, *args, name=…, **options)`."""

    def ours(t: Operands) -> gw.Tensor:
        return getattr(gw, op)(t.x, *args, name=t.name, **options)

    case(op, *x, name=name)(ours)


layer("conv1d", (2, 7), "", 3, 3)
layer("conv1d", (2, 9), "strided", 3, 3, stride=2, padding=1, dilation=2)
layer("conv1d", (2, 6), "same", 3, 4, padding="same", bias=False)
layer("conv1d", (4, 6), "groups", 6, 2, groups=2, padding="valid")
layer("conv1d", (3, 6), "depthwise", 6, 3, groups=3)
layer("conv2d", (2, 5, 4), "", 3, 3)
layer("conv2d", (2, 6, 5), "strided", 3, (3, 2), stride=(2, 1), padding=(1, 0))
layer("conv2d", (2, 5, 4), "same", 2, (2, 3), padding="same", dilation=(1, 2))
layer("conv2d", (4, 5, 5), "groups", 2, 2, groups=2, dilation=2, bias=False)
layer("conv2d", (2, 4, 4), "depthwise", 4, 3, groups=2, padding=1)
layer("conv2d", (3, 4, 4), "pointwise", 2, 1)
layer("conv1d", (2, 6), "circular", 3, 4, padding="same", padding_mode="circular", bias=False)
layer("conv2d", (2, 5, 4), "reflect", 2, 3, stride=2, padding=(2, 1), padding_mode="reflect")
layer("conv3d", (2, 3, 4, 3), "", 2, 2)
layer("conv3d", (1, 2, 3, 2), "replicate", 2, 2, padding=1, padding_mode="replicate")
layer("conv3d", (2, 3, 4, 3), "strided", 2, 2, stride=(1, 2, 1), padding=1)
layer("conv_transpose1d", (2, 4), "", 3, 3, padding=1)
layer("conv_transpose1d", (2, 4), "strided", 3, 3, stride=3, dilation=2)
layer("conv_transpose2d", (2, 3, 3), "", 2, 2)
layer(
    "conv_transpose2d", (4, 3, 2), "strided", 2, 3, stride=2, padding=1, output_padding=1, groups=2
)
layer("conv_transpose2d", (2, 2, 3), "uneven", 3, (2, 3), stride=(3, 2), bias=False)
layer("conv_transpose3d", (2, 2, 1, 2), "", 2, 2, stride=(1, 2, 1), output_padding=(0, 1, 0))


@case("convolve", 1, 5, 5)
def _(t: Operands) -> gw.Tensor:
    sobel = t.fixed("fixed_kernel", np.outer([1, 2, 1], [1, 0, -1])[None, None])
    return gw.convolve(t.x, sobel, padding=1)


@case("convolve_transpose", 2, 4)
def _(t: Operands) -> gw.Tensor:
    return gw.convolve_transpose(t.x, t.param("K", 2, 3, 2), t.param("c", 3), stride=2)


# ---------------------------------------------------------------- pools

layer("max_pool1d", (2, 7), "", 2)
layer("max_pool1d", (2, 9), "overlapping", 3, 2, 1)
layer("max_pool1d", (2, 8), "dilated", 3, 2, 1, 2, True)
layer("max_pool2d", (2, 4, 5), "", 2)
layer("max_pool2d", (2, 5, 6), "ceil", (3, 2), 2, 1, ceil_mode=True)
layer("max_pool3d", (1, 3, 4, 5), "", (2, 2, 3), 2, (0, 1, 1), ceil_mode=True)
layer("avg_pool1d", (2, 7), "", 2)
layer("avg_pool1d", (2, 8), "padded", 3, 2, 1, count_include_pad=False)
layer("avg_pool2d", (2, 4, 5), "", 2)
layer("avg_pool2d", (2, 6, 5), "ceil", 3, 2, 1, ceil_mode=True)
layer("avg_pool2d", (2, 6, 5), "uncounted", (3, 2), 2, 1, ceil_mode=True, count_include_pad=False)
layer("avg_pool2d", (2, 4, 4), "divisor", 2, 1, divisor_override=3)
layer("avg_pool3d", (1, 3, 4, 3), "", 2, 1, 1, count_include_pad=False)
layer("global_avg_pool", (2, 3, 4), "")
layer("global_max_pool", (2, 3, 4), "")
layer("adaptive_avg_pool1d", (2, 7), "", 3)
layer("adaptive_avg_pool1d", (2, 6), "even", 3)
layer("adaptive_avg_pool2d", (2, 5, 3), "", (3, 4))
layer("adaptive_avg_pool2d", (2, 4, 3), "kept", (None, 2))
layer("adaptive_avg_pool3d", (1, 3, 2, 4), "", (2, 1, 3))

# ---------------------------------------------------------------- normalisation

layer("batch_norm", (2, 3), "")
layer("batch_norm", (4,), "vectors", eps=1e-3)
layer("batch_norm", (2, 2, 2), "bare", affine=False)
layer("batch_norm", (2, 3), "untracked", track_running_stats=False)
layer("batch_norm", (2, 3), "cumulative", momentum=None)
layer("batch_norm", (2, 3), "unbiased", bias=False)
layer("instance_norm", (2, 4), "")
layer("instance_norm", (2, 2, 3), "affine", affine=True)
layer("instance_norm", (2, 4), "tracked", affine=True, track_running_stats=True)
layer("instance_norm", (2, 4), "unbiased", affine=True, bias=False)
layer("group_norm", (4, 3), "", 2)
layer("group_norm", (4, 3), "unbiased", 2, bias=False)
layer("group_norm", (6,), "vectors", 2, affine=False)
layer("layer_norm", (3, 4), "")
layer("layer_norm", (3, 4), "matrix", (3, 4), bias=False)
layer("layer_norm", (5,), "bare", elementwise_affine=False, eps=1e-2)
layer("rms_norm", (3, 4), "", eps=1e-3)
layer("rms_norm", (3, 4), "matrix", (3, 4), elementwise_affine=False)

# ---------------------------------------------------------------- attention


def attend(name: str, mask: Any = None, **options: Any) -> None:
    def ours(t: Operands) -> gw.Tensor:
        k, v = t.rows("k", 5, 4), t.rows("v", 5, 2)
        given = None if mask is None else mask(t)
        return gw.scaled_dot_product_attention(t.x, k, v, given, **options)

    case("scaled_dot_product_attention", 5, 4, name=name)(ours)


MASK = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1], [1] * 5, [0, 0, 1, 0, 0], [1, 0, 1, 0, 1]])
BLIND = np.array([[0, 1, 1, 1, 1], [0, 1, 1, 1, 1], [1] * 5, [0] * 5, [1, 0, 1, 0, 1]])
PADDING = np.array([0, 0, 1, 0, 1])
attend("")
attend("causal", is_causal=True, scale=0.3)
attend("added", lambda t: t.param("m", 5, 5))
attend("masked", lambda t: t.integers(MASK, rows=False))


@case("scaled_dot_product_attention", 5, 4, name="blind")
def _(t: Operands) -> gw.Tensor:
    mask = t.integers(BLIND, rows=False)
    k, v = t.rows("k", 5, 4), t.rows("v", 5, 2)
    return gw.scaled_dot_product_attention(t.x, k, v, mask, is_causal=True)


@case("scaled_dot_product_attention", 6, 3, 4, name="grouped")
def _(t: Operands) -> gw.Tensor:
    k, v = t.rows("k", 3, 5, 4), t.rows("v", 2, 5, 2)
    return gw.scaled_dot_product_attention(t.x, k, v, enable_gqa=True)


@case("multi_head_attention", 4, 6)
def _(t: Operands) -> gw.Tensor:
    return gw.multi_head_attention(t.x, 2, name=t.name)


@case("multi_head_attention", 4, 6, name="causal")
def _(t: Operands) -> gw.Tensor:
    return gw.multi_head_attention(t.x, 3, is_causal=True, bias=False, name=t.name)


@case("multi_head_attention", 5, 4, name="padded")
def _(t: Operands) -> gw.Tensor:
    padding = t.integers(PADDING, rows=True)
    mask = t.param("m", 5, 5)
    return gw.multi_head_attention(
        t.x, 2, attn_mask=mask, key_padding_mask=padding, bias=False, name=t.name
    )


@case("multi_head_attention", 4, 6, name="longer")
def _(t: Operands) -> gw.Tensor:
    return gw.multi_head_attention(t.x, 2, add_bias_kv=True, add_zero_attn=True, name=t.name)


@case("multi_head_attention", 5, 4, name="longer_masked")
def _(t: Operands) -> gw.Tensor:
    mask = t.integers(MASK, rows=False)
    padding = t.integers(PADDING, rows=True, name="fixed_padding")
    return gw.multi_head_attention(
        t.x, 2, attn_mask=mask, key_padding_mask=padding, add_bias_kv=True, name=t.name
    )


@case("multi_head_attention", 5, 4, name="longer_causal")
def _(t: Operands) -> gw.Tensor:
    return gw.multi_head_attention(
        t.x, 2, is_causal=True, add_zero_attn=True, bias=False, name=t.name
    )


@case("multi_head_attention", 3, 4, name="crossed")
def _(t: Operands) -> gw.Tensor:
    k, v = t.rows("key", 5, 3), t.rows("value", 5, 2)
    return gw.multi_head_attention(t.x, 2, k, v, bias=False, name=t.name)


# ---------------------------------------------------------------- recurrent


@case("lstm", 4, 2)
def _(t: Operands) -> gw.Tensor:
    return gw.lstm(t.x, 3, name=t.name)[0]


@case("lstm", 3, 2, name="last")
def _(t: Operands) -> gw.Tensor:
    _, (h, c) = gw.lstm(t.x, 2, 2, bidirectional=True, name=t.name)
    return gw.concat([h, c])


@case("lstm", 3, 2, name="started")
def _(t: Operands) -> gw.Tensor:
    h, c = (gw.expand(t.param(n, 1, 1, 2), (1, t.batch, 2)) for n in ("h0", "c0"))
    return gw.lstm(t.x, 2, bias=False, state=(h, c), name=t.name)[0]


@case("lstm", 4, 2, name="projected")
def _(t: Operands) -> gw.Tensor:
    states, (h, c) = gw.lstm(t.x, 3, 2, proj_size=2, bidirectional=True, name=t.name)
    return gw.concat([gw.flatten(states), *(gw.flatten(gw.transpose(s, 0, 1)) for s in (h, c))], 1)


@case("lstm", 3, 2, name="projected_started")
def _(t: Operands) -> gw.Tensor:
    h = gw.expand(t.param("h0", 1, 1, 2), (1, t.batch, 2))
    c = gw.expand(t.param("c0", 1, 1, 3), (1, t.batch, 3))
    return gw.lstm(t.x, 3, bias=False, proj_size=2, state=(h, c), name=t.name)[0]


@case("lstm", 4, 3, name="one_sequence")
def _(t: Operands) -> gw.Tensor:
    state = t.param("h0", 1, 3), t.param("c0", 1, 3)
    states, (h, c) = gw.lstm(t.param("sequence", 4, 2), 3, state=state, name=t.name)
    return gw.mul(t.x, gw.add(states, gw.mul(h, c)))


@case("gru", 4, 2)
def _(t: Operands) -> gw.Tensor:
    return gw.gru(t.x, 3, name=t.name)[0]


@case("gru", 3, 2, name="last")
def _(t: Operands) -> gw.Tensor:
    return gw.gru(t.x, 2, 2, bidirectional=True, name=t.name)[1]


@case("gru", 3, 2, name="started")
def _(t: Operands) -> gw.Tensor:
    h = gw.expand(t.param("h0", 1, 1, 2), (1, t.batch, 2))
    return gw.gru(t.x, 2, bias=False, state=h, name=t.name)[0]


@case("gru", 4, 3, name="one_sequence")
def _(t: Operands) -> gw.Tensor:
    states, h = gw.gru(t.param("sequence", 4, 2), 3, name=t.name)
    return gw.mul(t.x, gw.add(states, h))


# ---------------------------------------------------------------- shape

layer("reshape", (4, 6), "", (-1, 2, 3, 4))
layer("permute", (2, 3, 4), "", (0, 3, 1, 2))
layer("transpose", (2, 3), "", 0, -1)
layer("squeeze", (1, 3, 1), "")
layer("squeeze", (1, 3, 1), "one", -1)
layer("squeeze", (1, 3, 1), "some", (1, 2))
layer("unsqueeze", (2, 3), "", -1)
layer("flatten", (2, 3, 2), "")
layer("flatten", (2, 3, 2, 2), "middle", 2, -2)
layer("slice", (7, 2), "", 1, 1, None, 2)
layer("slice", (7,), "backwards", -1, 5, None, -2)
layer("select", (3, 4), "", 1, -2)
layer("pad", (3, 4), "", (1, 2, -1, 1), value=0.5)
layer("pad", (3, 4), "reflect", (2, 3, 1, 0), mode="reflect")
layer("pad", (3, 4), "replicate", (2, 5), mode="replicate")
layer("pad", (3, 4), "circular", (2, 3, 3, 1), mode="circular")
layer("upsample", (1, 3, 4), "", scale_factor=2)
layer("upsample", (2, 5), "size", 7)
layer("upsample", (2, 5), "fraction", scale_factor=1.5)
layer("upsample", (1, 5, 4), "exact", (3, 7), mode="nearest-exact")
layer("upsample", (2, 5), "linear_fraction", scale_factor=1.7, mode="linear")
layer("upsample", (2, 5), "recomputed", None, 0.7, "linear", recompute_scale_factor=True)
layer("upsample", (2, 4), "linear", scale_factor=3, mode="linear")
layer("upsample", (1, 3, 4), "bilinear", scale_factor=(2, 3), mode="bilinear")
layer("upsample", (1, 4, 5), "sized", (6, 3), mode="bilinear")
layer("upsample", (1, 3, 4), "corners", (5, 7), mode="bilinear", align_corners=True)


@case("split", 7)
def _(t: Operands) -> gw.Tensor:
    a, b, c = gw.split(t.x, 3, axis=1)
    return gw.concat([c, a, b], axis=1)


@case("split", 7, name="sections")
def _(t: Operands) -> gw.Tensor:
    return gw.split(t.x, (1, 4, 2), axis=-1)[1]


@case("add", 2, 3)
def _(t: Operands) -> gw.Tensor:
    return gw.add(t.x, t.param("y", 3))


@case("mul", 2, 3)
def _(t: Operands) -> gw.Tensor:
    return gw.mul(t.x, t.param("y", 2, 1))


@case("expand", 1, 3)
def _(t: Operands) -> gw.Tensor:
    return gw.expand(t.x, (2, t.batch, 4, -1))


@case("broadcast_to", 1, 3)
def _(t: Operands) -> gw.Tensor:
    return gw.broadcast_to(t.x, (t.batch, 4, 3))


@case("concat", 2, 3)
def _(t: Operands) -> gw.Tensor:
    return gw.concat([t.x, t.rows("y", 1, 3), t.rows("z", 4, 3)], axis=1)


@case("stack", 3)
def _(t: Operands) -> gw.Tensor:
    return gw.stack([t.x, t.rows("y", 3), t.rows("z", 3)], axis=-1)


@case("index_select", 4, 2, ids=(6,))
def _(t: Operands) -> gw.Tensor:
    return gw.index_select(t.x, 1, t.ids)


@case("gather", 4, 2, ids=(0, 5, 2))
def _(t: Operands) -> gw.Tensor:
    return gw.gather(t.x, 1, t.ids)


@case("one_hot", 4, ids=(0,))
def _(t: Operands) -> gw.Tensor:
    return gw.mul(gw.one_hot(t.ids, 4), t.x)


# A softmax does not change when every score moves alike, so a bias of the keys has no gradient.
NOTHING_TO_LEARN = ("mha.k.b",)

# A file of the op library, and its cases.
FILES: dict[str, list[str]] = {}
for _name, _case in CASES.items():
    FILES.setdefault(getattr(gw, _case.op).__module__.rpartition(".")[2], []).append(_name)
