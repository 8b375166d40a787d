"""Layers and shape ops: outputs against NumPy, gradients against differences, NumPy against C.

tests/peers/test_ops_layers.py runs the same table against torch.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import gradwright as gw
from compiler.check import draw
from compiler.evaluate import evaluate
from tests.layer_cases import (
    CASES,
    FILES,
    MASK,
    NOTHING_TO_LEARN,
    ROWS,
    arrays,
    bundle,
    parameters,
)

Plain = Callable[[Any, dict[str, Any]], Any]

# ---------------------------------------------------------------- forward


def windows(x: Any, window: Any, stride: int = 1, padding: int = 0, fill: float = 0.0) -> Any:
    """[rows, channels, positions…, taps…]"""
    places = len(window)
    border = [(0, 0)] * (x.ndim - places) + [(padding, padding)] * places
    padded = np.pad(x, border, constant_values=fill)
    axes = tuple(range(x.ndim - places, x.ndim))
    found = sliding_window_view(padded, window, axes)
    return found[(..., *(slice(None, None, stride),) * places, *(slice(None),) * places)]


def normal(x: Any, axes: Any, eps: float = 1e-5) -> Any:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def softmax(s: Any) -> Any:
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend(q: Any, k: Any, v: Any, mask: Any = 0.0, scale: float | None = None) -> Any:
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return softmax(scale * q @ np.swapaxes(k, -1, -2) + mask) @ v


def sigmoid(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def lstm(x: Any, p: dict[str, Any]) -> Any:
    h = c = np.zeros((len(x), 3))
    states = []
    for t in range(x.shape[1]):
        gates = x[:, t] @ p["W_ih"] + p["b_ih"] + h @ p["W_hh"] + p["b_hh"]
        i, f, g, o = np.split(gates, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.stack(states, axis=1)


def gru(x: Any, p: dict[str, Any]) -> Any:
    h = np.zeros((len(x), 3))
    states = []
    for t in range(x.shape[1]):
        r, z, n = np.split(x[:, t] @ p["W_ih"] + p["b_ih"], 3, axis=1)
        r_h, z_h, n_h = np.split(h @ p["W_hh"] + p["b_hh"], 3, axis=1)
        u = sigmoid(z + z_h)
        h = (1 - u) * np.tanh(n + sigmoid(r + r_h) * n_h) + u * h
        states.append(h)
    return np.stack(states, axis=1)


def between(x: Any, places: Any) -> Any:
    """x along its last axis at real places."""
    flat = x.reshape(-1, x.shape[-1])
    rows = [np.interp(places, np.arange(x.shape[-1]), row) for row in flat]
    return np.reshape(rows, (*x.shape[:-1], len(places)))


def bias(b: Any, places: int) -> Any:
    return b.reshape(-1, *(1,) * places)


CAUSAL = np.where(np.tril(np.ones((5, 5))), 0, -np.inf)
PLAIN: dict[str, Plain] = {
    "dense": lambda x, p: x @ p["W"] + p["b"],
    "linear": lambda x, p: x @ p["W"],
    "matmul": lambda x, p: x @ p["y"],
    "matmul_matrix": lambda x, p: x @ p["y"],
    "embedding": lambda x, p: p["W"][p["ids"]] * x,
    "embedding_padding_idx": lambda x, p: (
        np.where(p["ids"][:, None] == 3, 0, p["W"][p["ids"]]) * x[:, None]
    ),
    "conv1d": lambda x, p: (
        np.einsum("ncpr,ocr->nop", windows(x, (3,)), p["W"]) + bias(p["b"], 1)
    ),
    "conv1d_depthwise": lambda x, p: (
        np.einsum("ncpr,cmr->ncmp", windows(x, (3,)), p["W"].reshape(3, 2, 3)).reshape(3, 6, -1)
        + bias(p["b"], 1)
    ),
    "conv2d": lambda x, p: (
        np.einsum("ncpqrs,ocrs->nopq", windows(x, (3, 3)), p["W"]) + bias(p["b"], 2)
    ),
    "conv3d": lambda x, p: (
        np.einsum("ncpquabd,ocabd->nopqu", windows(x, (2, 2, 2)), p["W"]) + bias(p["b"], 3)
    ),
    "convolve": lambda x, p: np.einsum(
        "ncpqrs,ocrs->nopq", windows(x, (3, 3), padding=1), p["fixed_kernel"]
    ),
    "max_pool1d": lambda x, p: windows(x, (2,), 2).max(-1),
    "max_pool1d_overlapping": lambda x, p: windows(x, (3,), 2, 1, -np.inf).max(-1),
    "max_pool2d": lambda x, p: windows(x, (2, 2), 2).max((-1, -2)),
    "avg_pool1d": lambda x, p: windows(x, (2,), 2).mean(-1),
    "avg_pool1d_padded": lambda x, p: np.nanmean(windows(x, (3,), 2, 1, np.nan), -1),
    "avg_pool2d": lambda x, p: windows(x, (2, 2), 2).mean((-1, -2)),
    "avg_pool2d_divisor": lambda x, p: windows(x, (2, 2)).sum((-1, -2)) / 3,
    "global_avg_pool": lambda x, p: x.mean((2, 3)),
    "global_max_pool": lambda x, p: x.max((2, 3)),
    "adaptive_avg_pool1d": lambda x, p: np.stack(
        [x[..., a:b].mean(-1) for a, b in ((0, 3), (2, 5), (4, 7))], -1
    ),
    "adaptive_avg_pool1d_even": lambda x, p: x.reshape(3, 2, 3, 2).mean(-1),
    "batch_norm": lambda x, p: (
        (x - bias(p["running_mean"], 1)) / np.sqrt(bias(p["running_var"], 1) + 1e-5)
        * bias(p["W"], 1) + bias(p["b"], 1)
    ),
    "batch_norm_untracked": lambda x, p: normal(x, (0, 2)) * bias(p["W"], 1) + bias(p["b"], 1),
    "instance_norm": lambda x, p: normal(x, 2),
    "instance_norm_affine": lambda x, p: (
        normal(x, (2, 3)) * bias(p["W"], 2) + bias(p["b"], 2)
    ),
    "group_norm": lambda x, p: (
        normal(x.reshape(3, 2, 2, 3), (2, 3)).reshape(x.shape) * bias(p["W"], 1) + bias(p["b"], 1)
    ),
    "layer_norm": lambda x, p: normal(x, -1) * p["W"] + p["b"],
    "layer_norm_matrix": lambda x, p: normal(x, (1, 2)) * p["W"],
    "rms_norm": lambda x, p: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-3) * p["W"],
    "attention": lambda x, p: attend(x, p["k"], p["v"]),
    "attention_causal": lambda x, p: attend(x, p["k"], p["v"], CAUSAL, 0.3),
    "attention_added": lambda x, p: attend(x, p["k"], p["v"], p["m"]),
    "attention_masked": lambda x, p: attend(x, p["k"], p["v"], np.where(MASK, 0, -np.inf)),
    "lstm": lstm,
    "gru": gru,
    "reshape": lambda x, p: x.reshape(-1, 2, 3, 4),
    "permute": lambda x, p: x.transpose(0, 3, 1, 2),
    "transpose": lambda x, p: x.swapaxes(0, -1),
    "squeeze": lambda x, p: x[:, 0, :, 0],
    "squeeze_one": lambda x, p: x[..., 0],
    "unsqueeze": lambda x, p: x[..., None],
    "flatten": lambda x, p: x.reshape(3, -1),
    "split": lambda x, p: np.concatenate([x[:, 6:], x[:, :3], x[:, 3:6]], 1),
    "split_sections": lambda x, p: x[:, 1:5],
    "slice": lambda x, p: x[:, 1::2],
    "slice_backwards": lambda x, p: x[:, 5::-2],
    "select": lambda x, p: x[:, -2],
    "pad": lambda x, p: np.pad(
        x[:, 1:], ((0, 0), (0, 1), (1, 2)), constant_values=0.5
    ),
    "pad_reflect": lambda x, p: np.pad(x, ((0, 0), (1, 0), (2, 3)), mode="reflect"),
    "pad_replicate": lambda x, p: np.pad(x, ((0, 0), (0, 0), (2, 5)), mode="edge"),
    "pad_circular": lambda x, p: np.pad(x, ((0, 0), (3, 1), (2, 3)), mode="wrap"),
    "upsample": lambda x, p: x.repeat(2, 2).repeat(2, 3),
    "upsample_size": lambda x, p: x[..., np.arange(7) * 5 // 7],
    "upsample_linear": lambda x, p: between(x, (np.arange(12) + 0.5) / 3 - 0.5),
    "add": lambda x, p: x + p["y"],
    "mul": lambda x, p: x * p["y"],
    "expand": lambda x, p: np.broadcast_to(x, (2, 3, 4, 3)),
    "broadcast_to": lambda x, p: np.broadcast_to(x, (3, 4, 3)),
    "concat": lambda x, p: np.concatenate(
        [x, np.tile(p["y"], (3, 1, 1)), np.tile(p["z"], (3, 1, 1))], 1
    ),
    "stack": lambda x, p: np.stack([x, np.tile(p["y"], (3, 1)), np.tile(p["z"], (3, 1))], -1),
    "index_select": lambda x, p: x[:, p["ids"]],
    "gather": lambda x, p: np.take_along_axis(x, p["ids"], 1),
    "one_hot": lambda x, p: (p["ids"][:, None] == np.arange(4)) * x,
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_outputs_as_numpy_says(name: str) -> None:
    program = bundle([name]).trace(dtype="float64", batch=ROWS, training=False)
    values = draw(program, np.random.default_rng(0), ROWS)
    own = {key.partition(".")[2] or key.rpartition("_")[2]: v for key, v in values.items()}
    ((_, out),) = program.outputs
    expected = PLAIN[name](own.pop("x") * own.pop("scale"), own)
    np.testing.assert_allclose(
        evaluate(program, values, ROWS)[out], expected, rtol=1e-12, atol=1e-13
    )


# ---------------------------------------------------------------- gradients, and the two targets


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_differences(name: str) -> None:
    found = gw.gradcheck(bundle([name]), elements=4)
    checked = [p for p in found.parameters if p.name not in NOTHING_TO_LEARN]
    assert len(checked) >= 1
    assert all(p.ok for p in checked), found.text()


def one_of_each(names: list[str]) -> list[str]:
    return list({CASES[name].op: name for name in reversed(names)}.values())


@pytest.mark.parametrize("file", FILES)
def test_numpy_target_as_c_target(file: str, tmp_path: Path) -> None:
    names = one_of_each(FILES[file])
    network, given = bundle(names), arrays(names).values()
    models = [
        gw.compile(network, target=target, dtype="float64", batch=ROWS + 1, out=tmp_path)
        for target in ("numpy", "c")
    ]
    params = parameters(models[0])
    (loss, grads), (loss_c, grads_c) = (m.value_and_grad(params, *given) for m in models)
    assert loss == pytest.approx(loss_c, rel=1e-12)
    for name in grads.keys() - set(NOTHING_TO_LEARN):
        assert np.any(grads[name]), name
        assert abs(grads[name] - grads_c[name]).max() <= 1e-12 * abs(grads[name]).max(), name
    outputs, outputs_c = (m.forward(params, *given) for m in models)
    for name, ours, theirs in zip(outputs._fields, outputs, outputs_c, strict=True):
        assert abs(ours - theirs).max() <= 1e-12 * abs(ours).max(), name


def test_every_op_of_these_files_has_a_case() -> None:
    from compiler import oplib

    ops = {n for n in oplib.__all__ if getattr(oplib, n).__module__.rpartition(".")[2] in FILES}
    assert ops - {case.op for case in CASES.values()} == {"dropout"}


# ---------------------------------------------------------------- what depends on the mode


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_batch_norm_keeps_running_statistics(target: str, tmp_path: Path) -> None:
    @gw.network
    def normed(x: gw.f64["batch", 2, 3]):
        y = gw.batch_norm(x, momentum=0.2, name="bn")
        z = gw.batch_norm(x, momentum=None, affine=False, name="seen")
        at = gw.index("n", "batch"), gw.index("c", 2), gw.index("p", 3)
        loss = gw.define((), gw.sum((y[at] + z[at]) ** 3, over=at))
        return gw.outputs(loss=loss, y=y, z=z)

    model = gw.compile(normed, target=target, batch=4, out=tmp_path)
    params = model.init_params()
    state = model.init_state(params)
    batches = np.random.default_rng(0).normal(2.0, 3.0, size=(2, 4, 2, 3))
    for x in batches:
        model.train_step(params, state, x, lr=0.0)
    means, variances = batches.mean((1, 3)), batches.var((1, 3), ddof=1)
    moved = 0.8 * (0.8 * 0 + 0.2 * means[0]) + 0.2 * means[1]
    np.testing.assert_allclose(params["bn.running_mean"], moved, rtol=1e-12)
    moved = 0.8 * (0.8 * 1 + 0.2 * variances[0]) + 0.2 * variances[1]
    np.testing.assert_allclose(params["bn.running_var"], moved, rtol=1e-12)
    np.testing.assert_allclose(params["seen.running_mean"], means.mean(0), rtol=1e-12)
    np.testing.assert_allclose(params["seen.running_var"], variances.mean(0), rtol=1e-12)
    out = model.forward(params, batches[0])
    shift, spread = params["seen.running_mean"][:, None], params["seen.running_var"][:, None]
    np.testing.assert_allclose(out.z, (batches[0] - shift) / np.sqrt(spread + 1e-5), rtol=1e-11)
    _, grads = model.value_and_grad(params, batches[0])
    assert set(grads) >= {"bn.W", "bn.b"}


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_dropout_drops_in_training_only(target: str, tmp_path: Path) -> None:
    @gw.network
    def dropped(x: gw.f64["batch", 50]):
        h = gw.mul(x, gw.param("w", 50, gw.constant(2.0)))
        y = gw.dropout(h, 0.2)
        n, j = gw.index("n", "batch"), gw.index("j", 50)
        return gw.outputs(loss=gw.define((), gw.mean(y[n, j], over=(n, j))), y=y)

    model = gw.compile(dropped, target=target, batch=200, out=tmp_path)
    params, x = model.init_params(), np.ones((200, 50))
    assert np.all(model.forward(params, x).y == 2.0)
    loss, grads = model.value_and_grad(params, x)
    kept = grads["w"] * 50 * 200 * 0.8  # how many rows were kept in each column
    np.testing.assert_allclose(kept, kept.round(), atol=1e-9)
    assert 0.75 < kept.sum() / 10_000 < 0.85
    assert loss == pytest.approx(2 * kept.sum() / 0.8 / 10_000)
    losses = [model.train_step(params, model.init_state(params), x, lr=0.0) for _ in range(2)]
    assert losses[0] == losses[1]
    state = model.init_state(params)
    losses = [model.train_step(params, state, x, lr=0.0) for _ in range(3)]
    assert len(set(losses)) == 3


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_and_of_everything(p: float) -> None:
    @gw.network
    def dropped(x: gw.f64["batch", 5]):
        y = gw.add(gw.dropout(x, p), gw.param("b", 5))
        n, j = gw.index("n", "batch"), gw.index("j", 5)
        return gw.outputs(loss=gw.define((), gw.sum(y[n, j], over=(n, j))), y=y)

    program = dropped.trace(batch=2)
    values = {"x": np.ones((2, 5)), "b": np.zeros(5)}
    assert evaluate(program, values, 2)[program.loss] == 10 * (1 - p)


# ---------------------------------------------------------------- figures, loops, refusals


def test_textbook_figures() -> None:
    """A 1×1×4×4 pool of 0..15, and the shapes of a convolution of 5×3×50×50."""

    @gw.network
    def pooled(x: gw.f64[1, 1, 4, 4], images: gw.f64[5, 3, 50, 50]):
        y = gw.max_pool2d(x, 2)
        return gw.outputs(
            y=y, narrow=gw.conv2d(images, 7, 3), wide=gw.conv2d(images, 7, 3, padding=1)
        )

    program = pooled.trace()
    shapes = {public: program.shape_of(name) for public, name in program.outputs}
    assert shapes["narrow"] == (5, 7, 48, 48)
    assert shapes["wide"] == (5, 7, 50, 50)
    values = {"x": np.arange(16.0).reshape(1, 1, 4, 4)}
    (y,) = (d for d in program.definitions if d.name == dict(program.outputs)["y"])
    from dataclasses import replace

    alone = replace(program, definitions=(y,), outputs=(("y", "y"),))
    assert evaluate(alone, values)["y"].tolist() == [[[[5, 7], [13, 15]]]]


@pytest.mark.parametrize("op", ["lstm", "gru"])
@pytest.mark.parametrize("target", ["numpy", "c"])
def test_a_longer_sequence_has_no_more_lines(op: str, target: str) -> None:
    def lines(steps: int) -> int:
        @gw.network
        def sequence(x: gw.f32["batch", steps, 3], label: gw.i32["batch"]):
            states = getattr(gw, op)(x, 4, name="cell")[0]
            last = gw.select(states, 1, -1)
            return gw.outputs(loss=gw.cross_entropy(last, label), last=last)

        return sum(text.count("\n") for text in gw.emit(sequence, target=target).values())

    assert lines(28) == lines(280)


X = gw.f32["batch", 4, 6, 6]
WRONG: dict[str, tuple[Callable[[gw.Tensor], Any], str]] = {
    "groups": (lambda x: gw.conv2d(x, 6, 3, groups=3), "cannot part 4 channels in and 6 out"),
    "dimensions": (lambda x: gw.conv1d(x, 6, 3), r"conv1d\(\) needs 3 dimensions"),
    "window": (lambda x: gw.conv2d(x, 6, 9), "does not fit"),
    "same": (lambda x: gw.conv2d(x, 6, 3, stride=2, padding="same"), "needs stride 1"),
    "padding": (lambda x: gw.conv2d(x, 6, 3, padding="full"), "is not"),
    "stride": (lambda x: gw.conv2d(x, 6, 3, stride=0), "stride must be an integer of at least 1"),
    "sizes": (lambda x: gw.conv2d(x, 6, (3, 3, 3)), "kernel_size must be"),
    "output_padding": (
        lambda x: gw.conv_transpose2d(x, 2, 3, stride=2, output_padding=2),
        "must be smaller than the stride",
    ),
    "kernel": (lambda x: gw.convolve(x, gw.param("k", (2, 3, 2, 2))), "needs 3 channels"),
    "bias": (
        lambda x: gw.convolve(x, gw.param("k", (2, 4, 2, 2)), gw.param("c", 3)),
        r"needs a bias of \[2\]",
    ),
    "pool padding": (lambda x: gw.max_pool2d(x, 2, padding=2), "over half the window"),
    "batch pooled": (lambda x: gw.concat([x, x]), "needs a fixed size at axis 0"),
    "norm groups": (lambda x: gw.group_norm(x, 3), "cannot part 4 channels into 3 groups"),
    "norm shape": (lambda x: gw.layer_norm(x, (5, 6)), "does not fit"),
    "dropout": (lambda x: gw.dropout(x, 1.5), "a probability from 0 to 1"),
    "ids": (lambda x: gw.embedding(x, 3, 4), "needs an integer tensor"),
    "attention": (lambda x: gw.scaled_dot_product_attention(x, x, gw.select(x, 1, 0)), "needs"),
    "heads": (
        lambda x: gw.multi_head_attention(gw.select(x, 1, 0), 4),
        "cannot part 6 columns into 4 heads",
    ),
    "sequence": (lambda x: gw.lstm(x, 3), "needs 3 dimensions"),
    "projection": (
        lambda x: gw.lstm(gw.select(x, 1, 0), 3, proj_size=3), "proj_size must be below hidden_size"
    ),
    "padding_mode": (lambda x: gw.conv2d(x, 6, 3, padding_mode="same"), "padding_mode must be"),
    "border": (
        lambda x: gw.conv2d(x, 6, 3, padding=6, padding_mode="reflect"), "cannot add 6 and 6"
    ),
    "pad value": (lambda x: gw.pad(x, (1, 0), "circular", 1.0), "takes no value"),
    "corners": (lambda x: gw.upsample(x, 9, align_corners=True), "knows no align_corners"),
    "factor": (lambda x: gw.upsample(x, scale_factor=0.1), "does not fit"),
    "factors": (lambda x: gw.upsample(x, scale_factor=(2, 2, 2)), "does not fit"),
    "grouped heads": (
        lambda x: gw.scaled_dot_product_attention(x, gw.slice(x, 1, 0, 3), x, enable_gqa=True),
        "cannot share the heads",
    ),
    "mask": (
        lambda x: gw.scaled_dot_product_attention(x, x, x, gw.param("m", (5, 6))),
        "does not broadcast",
    ),
    "matmul": (lambda x: gw.matmul(x, gw.param("m", (5, 6))), "cannot multiply"),
    "matmul rows": (lambda x: gw.matmul(x, gw.param("m", (3, 6, 2))), "cannot broadcast"),
    "flatten": (lambda x: gw.flatten(x, 2, 1), "behind its end"),
    "flatten the batch": (lambda x: gw.flatten(x, 0), "needs a fixed size"),
    "reshape": (lambda x: gw.reshape(x, (-1, 5, 5)), "cannot make"),
    "batch reshaped": (lambda x: gw.reshape(x, (4, -1)), "keeps the batch in front"),
    "permute": (lambda x: gw.permute(x, (0, 1, 1, 2)), "each dimension"),
    "axis": (lambda x: gw.slice(x, 4), "has no axis 4"),
    "empty": (lambda x: gw.slice(x, 1, 3, 3), "is empty"),
    "split": (lambda x: gw.split(x, (1, 2), 1), "cannot part 4"),
    "concat": (lambda x: gw.concat([x, gw.select(x, 1, 0)], 1), "the same other sizes"),
    "pad": (lambda x: gw.pad(x, (6, 0), mode="reflect"), "cannot add 6 and 0 to the 6"),
    "mode": (lambda x: gw.pad(x, (1, 0), mode="mirror"), "mode must be"),
    "upsample": (lambda x: gw.upsample(x), "needs a size or a scale_factor"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused_on_the_users_line(wrong: str) -> None:
    call, message = WRONG[wrong]

    @gw.network
    def refused(x: X):
        return gw.outputs(y=call(x))

    with pytest.raises(gw.GradwrightError, match=message) as caught:
        refused.trace()
    assert caught.value.at is not None
    assert caught.value.at.short.startswith("test_ops_layers.py")
