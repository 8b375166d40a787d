"""Emitted C on several threads: the bits of one thread, whatever their number."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gradwright as gw
from codegen.c import assemble
from tests.targets.emitted_c import warnings
from tests.targets.specimens import example

ROWS = 7  # no number of threads divides it


@gw.network
def mixed(x: gw.f32["batch", 2, 10, 9], label: gw.i32["batch"]) -> Any:
    h = gw.relu(gw.conv2d(x, 5, 3, padding=1, name="a"))
    h = gw.max_pool2d(gw.batch_norm(h, name="n"), 2)
    h = gw.relu(gw.conv2d(h, 6, 3, stride=2, padding=1, name="b"))
    h = gw.dropout(gw.reshape(h, (h.shape[0], 6, 6)), 0.3)
    h = gw.layer_norm(gw.multi_head_attention(h, 2, name="m", is_causal=True) + h, name="l")
    states, _ = gw.lstm(h, 7, name="r")
    scores = gw.dense(gw.flatten(states), 4, name="c")
    return gw.outputs(loss=gw.cross_entropy(scores, label), scores=scores)


@gw.network
def wide(x: gw.f32["batch", 33], label: gw.i32["batch"]) -> Any:
    """Rows that are cut in chunks, and contractions that are shared by columns."""
    h = gw.relu(gw.dense(x, 300, name="a"))
    h = gw.relu(gw.dense(h, 70, name="b"))
    return gw.outputs(loss=gw.cross_entropy(gw.dense(h, 5, name="c"), label), scores=h)


@pytest.fixture
def always_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads work together on the smallest networks too."""
    monkeypatch.setattr(assemble, "WORTH_A_TEAM", 0)
    quick = assemble.FAST_FLAGS.replace("-O3", "-O2 -ftree-vectorize")
    monkeypatch.setattr(assemble, "FAST_FLAGS", quick)
    monkeypatch.setenv("CC", "gcc")


def arrays(model: ModuleType) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    shape = [ROWS if isinstance(s, str) else s for s in model.INPUTS["x"][0]]
    return [rng.normal(size=shape).astype("float32"), rng.integers(0, 3, ROWS, dtype=np.int32)]


def trained(model: ModuleType) -> dict[str, np.ndarray]:
    """Parameters after three steps, the outputs and the gradients."""
    params = model.init_params(seed=1)
    state, given = model.init_state(params), arrays(model)
    for _ in range(3):
        model.train_step(params, state, *given)
    _, grads = model.value_and_grad(params, *given)
    scores = model.forward(params, given[0]).scores
    return {**params, **{f"d {n}": g for n, g in grads.items()}, "scores": scores}


@pytest.mark.parametrize(("network", "teams"), [(mixed, (3,)), (wide, (2, 3))])
def test_every_number_of_threads_gives_the_bits_of_one(
    network: gw.Network, teams: tuple[int, ...], tmp_path: Path, always_together: None
) -> None:
    found = []
    for threads in (1, *teams):
        model = gw.compile(
            network, target="c", batch=ROWS, threads=threads, out=tmp_path / str(threads),
            optimizer=gw.adam(lr=0.01),
        )  # fmt: skip
        found.append(trained(model))
    for name, expected in found[0].items():
        assert np.any(expected), name
        for other in found[1:]:
            assert other[name].tobytes() == expected.tobytes(), name


def test_threads_share_the_work(always_together: None) -> None:
    source = gw.emit(mixed, target="c", batch=ROWS, threads=2)["mixed.c"]
    assert "#pragma omp parallel num_threads(rows < 4 ? 1 : MIXED_THREADS)" in source
    assert "planes.first" in source
    assert "gw_first(team, rows)" in source


def test_a_row_is_shared_in_whole_cache_lines(always_together: None) -> None:
    source = gw.emit(wide, target="c", batch=ROWS, threads=2)["wide.c"]
    assert "for (ptrdiff_t j_chunk = 80*gw_first(team, 4); j_chunk < 80*gw_end(team, 4)" in source
    assert "done = strips.first" in source


def test_a_thread_copies_no_line_but_its_own() -> None:
    network = example("lenet5").lenet5
    source = gw.emit(network, target="c", batch=64, threads=2)["lenet5.c"]
    kernel = source[source.index("compute_d_conv1_W_in_step(") :]
    assert "z0 = lines.first; z0 < lines.end" in kernel[: kernel.index("\n}")]


def test_one_thread_needs_no_team() -> None:
    files = gw.emit(mixed, target="c", batch=ROWS).values()
    assert not any(word in text for text in files for word in ("openmp", "gw_team", "GW_WAIT"))


@pytest.mark.parametrize("openmp", [(), ("-fopenmp",)])
def test_the_source_is_clean_with_openmp_and_without(
    openmp: tuple[str, ...], tmp_path: Path
) -> None:
    assert shutil.which("gcc")
    for name, text in gw.emit(mixed, target="c", batch=ROWS, threads=3).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["gcc", *warnings("gcc"), *openmp, "-fsyntax-only", f"{tmp_path}/mixed.c"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_input_may_be_called_team(tmp_path: Path) -> None:
    @gw.network
    def named(team: gw.f32["batch", 5]) -> Any:
        return gw.outputs(loss=gw.mse(gw.dense(team, 5, name="a"), team))

    for name, text in gw.emit(named, target="c", batch=ROWS, threads=2).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = ["gcc", *warnings("gcc"), "-fopenmp", "-fsyntax-only", f"{tmp_path}/named.c"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@gw.network
def one_vector(x: gw.f32[1000]) -> Any:
    i, a = gw.index("i", 1000), gw.param("a", (1000,), gw.normal())
    h = gw.define(i, gw.tanh(x)[i] * a[i])
    loss = gw.define((), gw.mean(h[i] ** 2, over=i))
    return gw.outputs(loss=loss, h=h, same=gw.define(i, h[i]), a_now=gw.define(i, a[i]))


def test_a_vector_is_shared_in_chunks(tmp_path: Path, always_together: None) -> None:
    """And results that are the same are copied by one thread, when all are there."""
    source = gw.emit(one_vector, target="c", threads=3)["one_vector.c"]
    assert "i_chunk" in source
    x = np.linspace(-2, 2, 1000, dtype=np.float32)
    found = []
    for threads in (1, 3):
        out = tmp_path / str(threads)
        model = gw.compile(one_vector, target="c", threads=threads, out=out)
        params = model.init_params(seed=0)
        h, same, a_now = model.forward(params, x)
        np.testing.assert_array_equal(same, h)
        np.testing.assert_array_equal(a_now, params["a"])
        loss = model.train_step(params, model.init_state(params), x)
        found.append((h.tobytes(), loss, params["a"].tobytes()))
    assert found[0] == found[1]


@gw.network
def lines(x: gw.f32["batch", 40]) -> Any:
    """Nothing but one contraction, whose lines are shared out."""
    n, i, j = gw.indices("n i j")
    weights = gw.param("W", (40, 64), gw.uniform(-1.0, 1.0))
    return gw.outputs(y=gw.define((n, j), gw.sum(x[n, i] * weights[i, j], over=i)))


def test_any_number_of_lines_can_be_shared(tmp_path: Path, always_together: None) -> None:
    """Of 17 lines two threads take 8 and 9: tiles as wide as those of 17 would be too large."""
    models = [
        gw.compile(lines, target="c", batch=34, threads=threads, out=tmp_path / str(threads))
        for threads in (1, 2, 3)
    ]
    assert "gw_part lines" in (tmp_path / "2" / "lines.c").read_text()
    params = models[0].init_params(0)
    for rows in range(1, 35):
        x = np.random.default_rng(rows).random((rows, 40), dtype=np.float32)
        one, *others = (model.forward(params, x).y for model in models)
        np.testing.assert_allclose(one, x @ params["W"], rtol=1e-5, atol=1e-5)
        assert all(other.tobytes() == one.tobytes() for other in others), rows
