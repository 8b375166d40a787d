"""Where threads wait: enough that no delay of one of them shows in the results, and no oftener."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gradwright as gw
from codegen.c import assemble
from codegen.c.waits import ALWAYS, UNEVEN, Call, Region, Split, Waits
from tests.targets.emitted_c import load

ROWS = 8

# Every thread is late before every call, each time by something else.
DAWDLE = """
#include <time.h>
static void gw_dawdle(ptrdiff_t thread)
{
    static unsigned long late[8];
    unsigned long *const own = &late[thread % 8];
    *own = *own * 1103515245UL + 12345UL + 77UL * (unsigned long)thread;
    const struct timespec some = {0, (long)(*own / 65536UL % 8UL) * 20000L};
    nanosleep(&some, NULL);
}
"""


@gw.network
def perceptron(x: gw.f32["batch", 33], label: gw.i32["batch"]) -> Any:
    h = gw.relu(gw.dense(x, 40, name="a"))
    h = gw.tanh(gw.dense(h, 36, name="b"))
    return gw.outputs(loss=gw.cross_entropy(gw.dense(h, 5, name="c"), label), scores=h)


@gw.network
def recurrent(x: gw.f32["batch", 1, 6, 9], label: gw.i32["batch"]) -> Any:
    h = gw.max_pool2d(gw.relu(gw.conv2d(x, 4, 3, padding=1, name="a")), (1, 3))
    h = gw.reshape(h, (h.shape[0], 6, 12))
    states, _ = gw.lstm(gw.layer_norm(h, name="n"), 7, name="r")
    scores = gw.dense(gw.flatten(states), 4, name="c")
    return gw.outputs(loss=gw.cross_entropy(scores, label), scores=scores)


@pytest.fixture
def always_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "WORTH_A_TEAM", 0)
    monkeypatch.setattr(assemble, "FAST_FLAGS", assemble.FAST_FLAGS.replace("-O3", "-O0"))
    monkeypatch.setenv("CC", "gcc -D_POSIX_C_SOURCE=199309L")


def dawdling(source: str) -> str:
    """The source with delays before every call of a team, which copies the smallest batches too."""
    head, teams, rest = source.partition("/* Threads share out")
    call = r"(?m)^( +)(compute_\w+\(|if \(team\.thread == 0\))"
    late = re.sub(call, r"\1gw_dawdle(team.thread); \2", rest)
    assert late.count("gw_dawdle(team.thread)") > 20
    copied = re.sub("GW_SHARED_COPY = [0-9]+", "GW_SHARED_COPY = 1", late)
    assert copied != late
    return head + DAWDLE + teams + copied


def trained(model: ModuleType, rows: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    shape = [rows if isinstance(s, str) else s for s in model.INPUTS["x"][0]]
    given = [rng.normal(size=shape).astype("float32"), rng.integers(0, 4, rows, dtype=np.int32)]
    params = model.init_params(seed=1)
    state = model.init_state(params)
    for _ in range(3):
        model.train_step(params, state, *given)
    order = np.concatenate([rng.permutation(rows) for _ in range(2)])
    model.train_epoch(params, state, *given, order=order, batch=rows)
    _, grads = model.value_and_grad(params, *given)
    return [*params.values(), *grads.values(), model.forward(params, given[0]).scores]


def compiled(
    network: gw.Network, threads: int, folder: Path, change: Any = None, batch: int = ROWS
) -> ModuleType:
    """The network, its C source changed before it is built."""
    folder.mkdir()
    options: dict[str, Any] = {"batch": batch, "optimizer": gw.sgd(lr=0.1, momentum=0.9)}
    for name, text in gw.emit(network, target="c", threads=threads, **options).items():
        changed = change(text) if change and name.endswith(".c") else text
        (folder / name).write_text(changed, encoding="utf-8")
    return load(next(folder.glob("*_c.py")))


@pytest.mark.parametrize(
    ("network", "sizes"),
    [(perceptron, (4, 6, 7, ROWS)), (recurrent, (4, 6, 7, ROWS)), (recurrent, (1, 2))],
)
def test_no_delay_shows_in_the_results(
    network: gw.Network, sizes: tuple[int, ...], tmp_path: Path, always_together: None
) -> None:
    """Where there are never more than a few rows, threads share out what one row takes."""
    alone = compiled(network, 1, tmp_path / "1", batch=sizes[-1])
    late = compiled(network, 3, tmp_path / "3", dawdling, sizes[-1])
    for rows in sizes:
        for expected, found in zip(trained(alone, rows), trained(late, rows), strict=True):
            assert np.any(expected)
            assert found.tobytes() == expected.tobytes()


def test_without_waits_delays_show(tmp_path: Path, always_together: None) -> None:
    """So the test above can fail."""

    def hasty(source: str) -> str:
        return re.sub(r"(?m)^ +GW_WAIT$", "", dawdling(source))

    alone = trained(compiled(perceptron, 1, tmp_path / "1"), ROWS)
    late = trained(compiled(perceptron, 3, tmp_path / "3", hasty), ROWS)
    assert any(a.tobytes() != b.tobytes() for a, b in zip(alone, late, strict=True))


def test_rows_of_one_s_own_need_no_wait(always_together: None) -> None:
    source = gw.emit(perceptron, target="c", batch=ROWS, threads=2)["perceptron.c"]
    forward = source[source.index("int perceptron_forward(") :]
    calls = re.findall(r"(?m)^        (compute_\w+|GW_WAIT)", forward[: forward.index("\n}")])
    assert calls == ["compute_a", "compute_b"]
    step = source[source.index("int perceptron_train_step(") :]
    body = step[: step.index("\n}")]
    assert body.count("GW_WAIT\n") < 0.6 * body.count("compute_")


# ---------------------------------------------------------------- two calls and one array


def call(split: Split, writes: bool, own: bool, start: int = 0, row: int = 40) -> Call:
    return Call(split, ((Region("workspace", start, start + 8 * row, row), writes, own),))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (call("rows", True, True), call("rows", False, True), ""),
        (call("rows", True, True), call("planes", False, True), UNEVEN),
        (call("rows", True, True), call("other", False, True), ALWAYS),
        (call("rows", True, True), call("rows", False, False), ALWAYS),
        (call("rows", False, False), call("rows", True, True), ALWAYS),
        (call("rows", False, False), call("rows", False, False), ""),
        (call("rows", True, True), call("rows", True, True, row=80), ALWAYS),
        (call("rows", True, True), call("rows", True, True, start=40), ALWAYS),
        (call("rows", True, True), call("rows", True, True, start=320), ""),
        (call("first", True, False), call("first", False, False), ""),
        (call("first", True, False), call("rows", False, True), ALWAYS),
    ],
)
def test_calls_wait_for_what_another_thread_did(first: Call, second: Call, expected: str) -> None:
    waits = Waits()
    assert waits.before(first) == ""
    assert waits.before(second) == expected


def test_the_first_call_of_a_loop_waits_for_the_last() -> None:
    reads, writes = call("other", False, False), call("other", True, False)
    assert Waits().around([reads, writes]) == [ALWAYS, ALWAYS]
    assert Waits().around([reads, reads]) == ["", ""]


def test_a_wait_reaches_back_to_the_last_one() -> None:
    waits = Waits()
    between = call("rows", True, True, start=4000)
    assert waits.before(call("rows", True, True)) == waits.before(between) == ""
    assert waits.before(call("rows", False, False)) == ALWAYS
