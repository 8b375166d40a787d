"""Layers and shape ops, with their options, against torch: outputs and gradients, both targets.

The cases are those of tests/layer_cases.py. Outputs are taken in use, gradients in training. An
error is the largest deviation over the largest number. Dropout has other random numbers in torch:
its tests stand in tests/test_ops_layers.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import gradwright as gw
from tests.layer_cases import (
    BLIND,
    CASES,
    FILES,
    MASK,
    NOTHING_TO_LEARN,
    PADDING,
    ROWS,
    arrays,
    bundle,
    cotangent,
    parameters,
)

TOLERANCE = 1e-9
Tabulate = Callable[[str, str, str, float], None]


@dataclass(frozen=True, slots=True)
class Given:
    """What a twin may read: its operand, its parameters by their last names, its integers."""

    x: torch.Tensor
    p: dict[str, torch.Tensor]
    ids: torch.Tensor
    training: bool


def conv(op: str, **options: Any) -> Callable[[Given], torch.Tensor]:
    return lambda t: getattr(F, op)(t.x, t.p["W"], t.p.get("b"), **options)


def batch_norm(t: Given, **options: Any) -> torch.Tensor:
    running = t.p["running_mean"].clone(), t.p["running_var"].clone()
    return F.batch_norm(t.x, *running, t.p.get("W"), t.p.get("b"), t.training, **options)


def attend(t: Given, **options: Any) -> torch.Tensor:
    k, v = (t.p[n].expand(ROWS, *t.p[n].shape) for n in "kv")
    return F.scaled_dot_product_attention(t.x, k, v, **options)


def heads(t: Given, count: int, zero: bool = False, **options: Any) -> torch.Tensor:
    """nn.MultiheadAttention's function, time first."""
    k, v = (t.p[n].expand(ROWS, *t.p[n].shape) if n in t.p else t.x for n in ("key", "value"))
    weights = {f"{n}_proj_weight": t.p[f"{n}.W"].T for n in "qkv"}
    biases = torch.cat([t.p[f"{n}.b"] for n in "qkv"]) if "q.b" in t.p else None
    behind = (t.p[n].view(1, 1, -1) if n in t.p else None for n in ("bias_k", "bias_v"))
    y, _ = F.multi_head_attention_forward(
        *(a.transpose(0, 1) for a in (t.x, k, v)), t.x.shape[2], count, None, biases, *behind,
        zero, 0.0, t.p["out.W"].T, t.p.get("out.b"), use_separate_proj_weight=True,
        need_weights=False, **weights, **options,
    )  # fmt: skip
    return y.transpose(0, 1)


def recurrent(kind: Any, t: Given, *sizes: int, state: Any = None, **options: Any) -> Any:
    """A module of torch.nn with our parameters."""
    module = kind(*sizes, batch_first=True, dtype=torch.float64, **options)
    own = {}
    for name, value in t.p.items():
        *where, last = name.split(".")
        if last[0] not in "Wb":
            continue
        layer = next((w[1:] for w in where if w[0] == "l"), "0")
        suffix = f"l{layer}" + "_reverse" * ("reverse" in where)
        key = f"{'weight' if last[0] == 'W' else 'bias'}_{last[2:]}_{suffix}"
        own[key] = value.T if last[0] == "W" else value
    return torch.func.functional_call(module, own, (t.x, state))


def projected_lstm(t: Given) -> torch.Tensor:
    states, (h, c) = recurrent(
        torch.nn.LSTM, t, 2, 3, num_layers=2, proj_size=2, bidirectional=True
    )
    return torch.cat([states.flatten(1), *(s.transpose(0, 1).flatten(1) for s in (h, c))], 1)


def one_sequence(kind: Any, t: Given, state: Any = None) -> torch.Tensor:
    alone = replace(t, x=t.p["sequence"], p={k: v for k, v in t.p.items() if k != "sequence"})
    states, last = recurrent(kind, alone, 2, 3, state=state)
    return t.x * (states + (last[0] * last[1] if kind is torch.nn.LSTM else last))


def last_lstm(t: Given) -> torch.Tensor:
    _, (h, c) = recurrent(torch.nn.LSTM, t, 2, 2, num_layers=2, bidirectional=True)
    return torch.cat([h, c])


def resize(**options: Any) -> Callable[[Given], torch.Tensor]:
    return lambda t: F.interpolate(t.x, **options)


def rows(t: Given, name: str) -> torch.Tensor:
    return t.p[name].expand(ROWS, *t.p[name].shape)


CAUSAL = torch.ones(4, 4, dtype=torch.bool).triu(1)
PADDED = torch.tensor(PADDING != 0).expand(ROWS, 5)
TORCH: dict[str, Callable[[Given], torch.Tensor]] = {
    "dense": lambda t: F.linear(t.x, t.p["W"].T, t.p["b"]),
    "linear": lambda t: F.linear(t.x, t.p["W"].T),
    "matmul": lambda t: t.x @ t.p["y"],
    "matmul_matrix": lambda t: t.x @ t.p["y"],
    "matmul_broadcast": lambda t: t.x @ t.p["y"],
    "matmul_vector": lambda t: t.p["z"] @ t.x @ t.p["y"],
    "embedding": lambda t: F.embedding(t.ids, t.p["W"]) * t.x,
    "embedding_padding_idx": lambda t: (
        F.embedding(t.ids, t.p["W"] * torch.tensor([[1.0], [1], [1], [0]])) * t.x[:, None]
    ),
    "conv1d": conv("conv1d"),
    "conv1d_strided": conv("conv1d", stride=2, padding=1, dilation=2),
    "conv1d_same": lambda t: F.conv1d(F.pad(t.x, (1, 2)), t.p["W"]),
    "conv1d_groups": conv("conv1d", groups=2, padding="valid"),
    "conv1d_depthwise": conv("conv1d", groups=3),
    "conv2d": conv("conv2d"),
    "conv2d_strided": conv("conv2d", stride=(2, 1), padding=(1, 0)),
    "conv2d_same": lambda t: F.conv2d(
        F.pad(t.x, (2, 2, 0, 1)), t.p["W"], t.p["b"], dilation=(1, 2)
    ),
    "conv2d_groups": conv("conv2d", groups=2, dilation=2),
    "conv2d_depthwise": conv("conv2d", groups=2, padding=1),
    "conv2d_pointwise": conv("conv2d"),
    "conv1d_circular": lambda t: F.conv1d(F.pad(t.x, (1, 2), mode="circular"), t.p["W"]),
    "conv2d_reflect": lambda t: F.conv2d(
        F.pad(t.x, (1, 1, 2, 2), mode="reflect"), t.p["W"], t.p["b"], stride=2
    ),
    "conv3d": conv("conv3d"),
    "conv3d_replicate": lambda t: F.conv3d(
        F.pad(t.x, (1,) * 6, mode="replicate"), t.p["W"], t.p["b"]
    ),
    "conv3d_strided": conv("conv3d", stride=(1, 2, 1), padding=1),
    "conv_transpose1d": conv("conv_transpose1d", padding=1),
    "conv_transpose1d_strided": conv("conv_transpose1d", stride=3, dilation=2),
    "conv_transpose2d": conv("conv_transpose2d"),
    "conv_transpose2d_strided": conv(
        "conv_transpose2d", stride=2, padding=1, output_padding=1, groups=2
    ),
    "conv_transpose2d_uneven": conv("conv_transpose2d", stride=(3, 2)),
    "conv_transpose3d": conv("conv_transpose3d", stride=(1, 2, 1), output_padding=(0, 1, 0)),
    "convolve": lambda t: F.conv2d(t.x, t.p["fixed_kernel"], padding=1),
    "convolve_transpose": lambda t: F.conv_transpose1d(t.x, t.p["K"], t.p["c"], stride=2),
    "max_pool1d": lambda t: F.max_pool1d(t.x, 2),
    "max_pool1d_overlapping": lambda t: F.max_pool1d(t.x, 3, 2, 1),
    "max_pool1d_dilated": lambda t: F.max_pool1d(t.x, 3, 2, 1, 2, True),
    "max_pool2d": lambda t: F.max_pool2d(t.x, 2),
    "max_pool2d_ceil": lambda t: F.max_pool2d(t.x, (3, 2), 2, 1, ceil_mode=True),
    "max_pool3d": lambda t: F.max_pool3d(t.x, (2, 2, 3), 2, (0, 1, 1), ceil_mode=True),
    "avg_pool1d": lambda t: F.avg_pool1d(t.x, 2),
    "avg_pool1d_padded": lambda t: F.avg_pool1d(t.x, 3, 2, 1, count_include_pad=False),
    "avg_pool2d": lambda t: F.avg_pool2d(t.x, 2),
    "avg_pool2d_ceil": lambda t: F.avg_pool2d(t.x, 3, 2, 1, ceil_mode=True),
    "avg_pool2d_uncounted": lambda t: F.avg_pool2d(
        t.x, (3, 2), 2, 1, ceil_mode=True, count_include_pad=False
    ),
    "avg_pool2d_divisor": lambda t: F.avg_pool2d(t.x, 2, 1, divisor_override=3),
    "avg_pool3d": lambda t: F.avg_pool3d(t.x, 2, 1, 1, count_include_pad=False),
    "global_avg_pool": lambda t: t.x.mean((2, 3)),
    "global_max_pool": lambda t: t.x.amax((2, 3)),
    "adaptive_avg_pool1d": lambda t: F.adaptive_avg_pool1d(t.x, 3),
    "adaptive_avg_pool1d_even": lambda t: F.adaptive_avg_pool1d(t.x, 3),
    "adaptive_avg_pool2d": lambda t: F.adaptive_avg_pool2d(t.x, (3, 4)),
    "adaptive_avg_pool2d_kept": lambda t: F.adaptive_avg_pool2d(t.x, (None, 2)),
    "adaptive_avg_pool3d": lambda t: F.adaptive_avg_pool3d(t.x, (2, 1, 3)),
    "batch_norm": batch_norm,
    "batch_norm_vectors": lambda t: batch_norm(t, eps=1e-3),
    "batch_norm_bare": batch_norm,
    "batch_norm_untracked": lambda t: F.batch_norm(
        t.x, None, None, t.p["W"], t.p["b"], training=True
    ),
    "batch_norm_cumulative": batch_norm,
    "batch_norm_unbiased": batch_norm,
    "instance_norm": lambda t: F.instance_norm(t.x),
    "instance_norm_affine": lambda t: F.instance_norm(t.x, weight=t.p["W"], bias=t.p["b"]),
    "instance_norm_tracked": lambda t: F.instance_norm(
        t.x, t.p["running_mean"].clone(), t.p["running_var"].clone(), t.p["W"], t.p["b"],
        use_input_stats=t.training,
    ),
    "instance_norm_unbiased": lambda t: F.instance_norm(t.x, weight=t.p["W"]),
    "group_norm": lambda t: F.group_norm(t.x, 2, t.p["W"], t.p["b"]),
    "group_norm_unbiased": lambda t: F.group_norm(t.x, 2, t.p["W"]),
    "group_norm_vectors": lambda t: F.group_norm(t.x, 2),
    "layer_norm": lambda t: F.layer_norm(t.x, (4,), t.p["W"], t.p["b"]),
    "layer_norm_matrix": lambda t: F.layer_norm(t.x, (3, 4), t.p["W"]),
    "layer_norm_bare": lambda t: F.layer_norm(t.x, (5,), eps=1e-2),
    "rms_norm": lambda t: F.rms_norm(t.x, (4,), t.p["W"], eps=1e-3),
    "rms_norm_matrix": lambda t: F.rms_norm(t.x, (3, 4)),
    "attention": attend,
    "attention_causal": lambda t: attend(t, is_causal=True, scale=0.3),
    "attention_added": lambda t: attend(t, attn_mask=t.p["m"]),
    "attention_masked": lambda t: attend(t, attn_mask=torch.tensor(MASK != 0)),
    "attention_blind": lambda t: attend(t, attn_mask=torch.tensor(np.tril(BLIND) != 0)),
    "attention_grouped": lambda t: attend(t, enable_gqa=True),
    "mha": lambda t: heads(t, 2),
    "mha_causal": lambda t: heads(t, 3, attn_mask=CAUSAL),
    "mha_padded": lambda t: heads(
        t, 2, attn_mask=t.p["m"], key_padding_mask=torch.where(PADDED, -torch.inf, 0.0).double()
    ),
    "mha_longer": lambda t: heads(t, 2, zero=True),
    "mha_longer_masked": lambda t: heads(
        t, 2, attn_mask=torch.tensor(MASK == 0), key_padding_mask=PADDED
    ),
    "mha_longer_causal": lambda t: heads(
        t, 2, zero=True, attn_mask=torch.ones(5, 5, dtype=torch.bool).triu(1)
    ),
    "mha_crossed": lambda t: heads(t, 2),
    "lstm": lambda t: recurrent(torch.nn.LSTM, t, 2, 3)[0],
    "lstm_last": last_lstm,
    "lstm_started": lambda t: recurrent(
        torch.nn.LSTM, t, 2, 2, bias=False,
        state=tuple(t.p[n].expand(1, ROWS, 2) for n in ("h0", "c0")),
    )[0],
    "lstm_projected": projected_lstm,
    "lstm_projected_started": lambda t: recurrent(
        torch.nn.LSTM, t, 2, 3, bias=False, proj_size=2,
        state=(t.p["h0"].expand(1, ROWS, 2), t.p["c0"].expand(1, ROWS, 3)),
    )[0],
    "lstm_one_sequence": lambda t: one_sequence(torch.nn.LSTM, t, (t.p["h0"], t.p["c0"])),
    "gru": lambda t: recurrent(torch.nn.GRU, t, 2, 3)[0],
    "gru_last": lambda t: recurrent(
        torch.nn.GRU, t, 2, 2, num_layers=2, bidirectional=True
    )[1],
    "gru_started": lambda t: recurrent(
        torch.nn.GRU, t, 2, 2, bias=False, state=t.p["h0"].expand(1, ROWS, 2)
    )[0],
    "gru_one_sequence": lambda t: one_sequence(torch.nn.GRU, t),
    "reshape": lambda t: t.x.reshape(-1, 2, 3, 4),
    "permute": lambda t: t.x.permute(0, 3, 1, 2),
    "transpose": lambda t: t.x.transpose(0, -1),
    "squeeze": lambda t: t.x.squeeze(),
    "squeeze_one": lambda t: t.x.squeeze(-1),
    "squeeze_some": lambda t: t.x.squeeze((1, 2)),
    "unsqueeze": lambda t: t.x.unsqueeze(-1),
    "flatten": lambda t: t.x.flatten(1),
    "flatten_middle": lambda t: t.x.flatten(2, -2),
    "slice": lambda t: t.x[:, 1::2],
    "slice_backwards": lambda t: t.x.flip(1)[:, 1::2],
    "select": lambda t: t.x.select(1, -2),
    "pad": lambda t: F.pad(t.x, (1, 2, -1, 1), value=0.5),
    "pad_reflect": lambda t: F.pad(t.x[:, None], (2, 3, 1, 0), mode="reflect")[:, 0],
    "pad_replicate": lambda t: F.pad(t.x, (2, 5), mode="replicate"),
    "pad_circular": lambda t: F.pad(t.x[:, None], (2, 3, 3, 1), mode="circular")[:, 0],
    "upsample": resize(scale_factor=2),
    "upsample_size": resize(size=7),
    "upsample_fraction": resize(scale_factor=1.5),
    "upsample_exact": resize(size=(3, 7), mode="nearest-exact"),
    "upsample_linear_fraction": resize(scale_factor=1.7, mode="linear"),
    "upsample_recomputed": resize(scale_factor=0.7, mode="linear", recompute_scale_factor=True),
    "upsample_linear": resize(scale_factor=3, mode="linear"),
    "upsample_bilinear": resize(scale_factor=(2, 3), mode="bilinear"),
    "upsample_sized": resize(size=(6, 3), mode="bilinear"),
    "upsample_corners": resize(size=(5, 7), mode="bilinear", align_corners=True),
    "split": lambda t: torch.cat([t.x.split(3, 1)[n] for n in (2, 0, 1)], 1),
    "split_sections": lambda t: t.x.split((1, 4, 2), -1)[1],
    "add": lambda t: t.x + t.p["y"],
    "mul": lambda t: t.x * t.p["y"],
    "expand": lambda t: t.x.expand(2, ROWS, 4, -1),
    "broadcast_to": lambda t: torch.broadcast_to(t.x, (ROWS, 4, 3)),
    "concat": lambda t: torch.cat([t.x, rows(t, "y"), rows(t, "z")], 1),
    "stack": lambda t: torch.stack([t.x, rows(t, "y"), rows(t, "z")], -1),
    "index_select": lambda t: t.x.index_select(1, t.ids),
    "gather": lambda t: t.x.gather(1, t.ids),
    "one_hot": lambda t: F.one_hot(t.ids, 4) * t.x,
}  # fmt: skip


def test_every_case_has_a_twin() -> None:
    assert list(TORCH) == list(CASES)


def twin(name: str, given: dict[str, np.ndarray], params: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """The output in use, and the gradients of training, in torch."""
    own = {
        key.removeprefix(f"{name}."): torch.tensor(value, requires_grad=True)
        for key, value in params.items()
        if key.startswith(f"{name}.")
    }
    ids = torch.tensor(given.get(f"{name}_ids", 0)).long()

    def run(training: bool) -> torch.Tensor:
        x = torch.tensor(given[f"{name}_x"]) * own["scale"]
        frozen = {k: v.detach() if k.startswith("running") else v for k, v in own.items()}
        return TORCH[name](Given(x, frozen, ids, training))

    y = run(training=True)
    (y * torch.tensor(cotangent(tuple(y.shape)))).sum().backward()
    grads = {f"{name}.{k}": v.grad.numpy() for k, v in own.items() if v.grad is not None}
    return run(training=False).detach().numpy(), grads


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    largest = abs(expected).max()
    assert largest > 0
    return float(abs(found - expected).max() / largest)


@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("file", FILES)
def test_file(file: str, target: str, tmp_path: Path, tabulate: Tabulate) -> None:
    network = bundle(FILES[file])
    model = gw.compile(network, target=target, dtype="float64", batch=ROWS, out=tmp_path)
    params, given = parameters(model), arrays(FILES[file])
    read = inspect.signature(model.forward).parameters
    outputs = model.forward(params, *(given[n] for n in model.INPUTS if n in read))
    _, grads = model.value_and_grad(params, *(given[n] for n in model.INPUTS))
    wrong = {}
    for name in FILES[file]:
        expected, expected_grads = twin(name, given, params)
        own = {k for k in grads if k.startswith(f"{name}.")} - set(NOTHING_TO_LEARN)
        assert own <= expected_grads.keys()
        errors = [worst(grads[k], expected_grads[k]) for k in sorted(own)]
        error = max(errors + [worst(getattr(outputs, f"{name}_out"), expected)])
        tabulate(CASES[name].op, name, target, error)
        if not error <= TOLERANCE:
            wrong[name] = error
    assert wrong == {}
