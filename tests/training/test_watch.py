"""Watching a run: what is measured, what is hinted, and the files made of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradwright.training import extras, full_batch, watch
from gradwright.training.batches import Rows
from gradwright.training.checkpoint import Position
from gradwright.training.diverged import Memory, blame
from gradwright.training.events import event_writer, scalars
from gradwright.training.extras import MissingLibraryError
from gradwright.training.hints import hints, last_words
from gradwright.training.history import Measured, read_csv, write_csv
from gradwright.training.loop import EpochResult, Plan, fresh, train
from gradwright.training.metrics import mean_gradient
from gradwright.training.observers import Extras, earlier, observed
from gradwright.training.report_page import Finished, write_report
from gradwright.training.watch import Watch, judged, sample
from ir.errors import DataError, OutputError

GOOD = Measured(
    1, 10, 0.5, 2e3, 0.1, 1.0, 0.9, 0.95, 0.8, 0.75,
    {"fc.W": 0.1, "fc.b": 0.2}, {"fc.W": 3.0, "fc.b": 0.5}, {"fc.b": 0.0},
)  # fmt: skip


class Quiet:
    """A reporter that keeps the hints."""

    live = False

    def __init__(self) -> None:
        self.hints: list[str] = []

    def epoch_started(self, epoch: int, rows: int, done: int) -> None: ...
    def advanced(self, done: int, loss: float, accuracy: float | None, lr: float) -> None: ...
    def epoch_finished(self, result: EpochResult) -> None: ...

    def hint(self, text: str) -> None:
        self.hints.append(text)


def nothing(position: Position, params: dict, state: dict) -> None: ...


def measured_run(model, data, folder: Path, epochs: int = 3, **places: Path) -> list[Measured]:
    start = fresh(model, 0)
    measure = Watch(model, start.params, *data)
    with observed(Quiet(), measure, folder, Extras(**places), []) as observer:
        train(model, data, Plan(epochs, 32, 0), observer, nothing, start)
    return observer.history


def test_an_epoch_is_measured_as_it_is(model, data, tmp_path: Path) -> None:
    start = fresh(model, 0)
    measured = Watch(model, start.params, *data)(EpochResult(1, 2.0, 0.5, 1.0, 10, 7, 0.05))
    rows = sample(data[0])
    loss, gradient = model.value_and_grad(start.params, *rows.inputs())
    assert len(rows) == watch.SAMPLE
    assert measured.train_loss == pytest.approx(loss)
    assert measured.gradient_norm["fc.W"] == pytest.approx(np.linalg.norm(gradient["fc.W"]))
    assert measured.parameter_norm["fc.b"] == pytest.approx(np.linalg.norm(start.params["fc.b"]))
    assert (measured.step, measured.lr, measured.samples_per_second) == (7, 0.05, 10.0)
    assert measured.zero_gradients == {"fc.b": 0.0}


def test_means_over_batches_are_those_of_all_rows(model, data) -> None:
    params, inputs = model.init_params(0), data[0].inputs()
    loss, gradient = model.value_and_grad(params, *inputs)
    assert len(inputs[0]) % model.MAX_BATCH
    found, by_parts = mean_gradient(model, params, inputs)
    assert found == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(by_parts["fc.W"], gradient["fc.W"], rtol=1e-9, atol=1e-15)


def test_samples_are_evenly_spaced() -> None:
    rows = Rows({"x": np.arange(5000.0)}, np.arange(5000))
    chosen = sample(rows, 4)
    assert chosen.labels.tolist() == [0, 1250, 2500, 3750]
    assert (chosen.arrays["x"] == chosen.labels).all()


def test_history_survives_its_file(model, data, tmp_path: Path) -> None:
    history = measured_run(model, data, tmp_path, csv=tmp_path / "more" / "run.csv")
    assert read_csv(tmp_path / "history.csv") == history
    assert read_csv(tmp_path / "more" / "run.csv") == history
    assert earlier(tmp_path, 2) == history[:2]
    assert earlier(tmp_path, 4) == []
    without = [replace(GOOD, test_accuracy=None)]
    write_csv(tmp_path / "history.csv", without)
    assert read_csv(tmp_path / "history.csv") == without


@pytest.mark.parametrize("text", ["", "epoch\n1\n", "\0", "epoch,step\nx,y\n", "\xff"])
def test_a_damaged_history_is_refused(tmp_path: Path, text: str) -> None:
    whole = tmp_path / "whole.csv"
    write_csv(whole, [GOOD])
    path = tmp_path / "history.csv"
    path.write_text(text or whole.read_text().replace("0.1", "much"), encoding="latin-1")
    with pytest.raises(DataError, match="history.csv is no history of a run"):
        read_csv(path)
    assert earlier(tmp_path, 1) == []


def test_a_csv_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_csv(tmp_path / "file" / "run.csv", [GOOD])
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def epochs(**changes: list[float]) -> list[Measured]:
    """Good epochs, one for each value, with these figures in place of theirs."""
    count = len(next(iter(changes.values())))
    falling = [replace(GOOD, epoch=n + 1, loss=1 / (n + 1)) for n in range(count)]
    return [
        replace(m, **{name: values[n] for name, values in changes.items()})
        for n, m in enumerate(falling)
    ]


HINTS = {
    "diverges": (
        epochs(loss=[0.5, 0.25, 0.75]),
        "the training loss rose from 0.25 (epoch 2) to 0.75 (epoch 3): lower --lr (now 0.1)",
    ),
    "overfits": (
        epochs(test_loss=[0.5, 0.4, 0.6], train_loss=[0.5, 0.3, 0.1]),
        "the test loss rose from 0.4 (epoch 2) to 0.6 while the training loss fell from 0.3 to 0.1",
    ),
    "saturates": (
        epochs(gradient_norm=[{"fc.W": 1e-9}]),
        "the gradient's norm is 1e-09, that of the parameters 3",
    ),
    "dead": (
        epochs(zero_gradients=[{"fc1.b": 0.75, "fc2.b": 0.1}]),
        "75 % of fc1.b has a gradient of exactly 0 (dead relus)",
    ),
    "stuck": (
        epochs(loss=[2.302, 2.301, 2.303]),
        "the training loss hardly moved: 2.302 (epoch 1), 2.303 (epoch 3)",
    ),
}


@pytest.mark.parametrize("kind", HINTS)
def test_each_hint_has_its_figure(kind: str) -> None:
    history, text = HINTS[kind]
    found = hints(history)
    assert [hint.kind for hint in found] == [kind]
    assert found[0].text.startswith(text)


def test_a_good_run_needs_no_hint() -> None:
    assert hints([]) == []
    assert hints(epochs(test_loss=[0.5, 0.4, 0.39])) == []
    assert last_words([GOOD]) == []
    [hint] = last_words(epochs(loss=[0.5, 0.4]))
    assert hint.text.startswith("the loss still fell by 20 % in the last epoch: try more --epochs")
    assert last_words(epochs(loss=[0.5, 0.49])) == []
    [slow] = last_words(epochs(loss=[2.5, 2.4, 2.31]))
    assert slow.text.startswith("the loss fell by 0.09 in the last epoch, by 0.095 in the mean")
    assert last_words(epochs(loss=[2.5, 0.5, 0.49])) == []


def test_a_hint_is_said_once(tmp_path: Path) -> None:
    shown, history = Quiet(), epochs(loss=[0.1, 0.5, 0.6])
    left = iter(history)
    with observed(shown, lambda result: next(left), tmp_path, Extras(), []) as observer:
        for _ in history:
            observer.epoch_finished(EpochResult(1, 0.0, None, 1.0, 1))
        observer.finish()
    assert len(shown.hints) == 1
    assert "to 0.6 (epoch 3)" in observer.said["diverges"].text


def test_events_hold_the_figures(tmp_path: Path) -> None:
    with event_writer(tmp_path) as write:
        write(GOOD)
    [file] = tmp_path.glob("events.out.tfevents.*")
    content = file.read_bytes()
    assert scalars(GOOD)["gradient_norm/fc.W"] == 0.1
    for name in scalars(GOOD):
        assert name.encode() in content


@pytest.mark.parametrize(
    ("places", "name"),
    [({"report": Path("r")}, "report"), ({"tensorboard": Path("t")}, "tensorboard")],
)
def test_a_library_that_is_not_there_is_named(
    places: dict, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str) -> object:
        raise ImportError(f"no module named {module}")

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(MissingLibraryError, match=rf"pip install 'gradwright\[{name}\]'"):
        Extras(**places).require_libraries()


def test_the_report_is_one_page_with_its_pictures(model, data, tmp_path: Path) -> None:
    start = fresh(model, 0)
    history = [replace(m, epoch=n) for n, m in enumerate(epochs(loss=[0.5, 0.4]), 1)]
    path, hostile = tmp_path / "r.html", "<script>alert(1)</script>"
    write_report(path, Finished(model, start.params, data[1], history, hostile, [hostile]))
    page = path.read_text()
    titles = re.findall(r"<h2>(.*)</h2>", page)
    assert titles[:3] == ["Loss", "Accuracy", "Learning rate"]
    assert titles[3:] == [
        "Norm of the gradient", "Norm of the parameters", "Confusion matrix",
        "Furthest from right", "Weights of fc.W", "Figures",
    ]  # fmt: skip
    sources = re.findall(r'src="([^"]{24})', page)
    assert len(sources) == 8
    assert all(uri.startswith("data:image/") for uri in sources)
    assert "<script" not in page
    assert "http" not in re.sub(r'src="[^"]*"|http-equiv', "", page)
    again = tmp_path / "again.html"
    write_report(again, Finished(model, start.params, data[1], history, hostile, [hostile]))
    assert again.read_text() == page


def test_a_regression_has_a_report_without_classes(model, data, tmp_path: Path) -> None:
    model.OUTPUTS, model.INDEX_LIMITS = {"y": (("batch",), "float64")}, {}
    history = [replace(GOOD, train_accuracy=None, test_accuracy=None)]
    write_report(
        tmp_path / "r.html", Finished(model, model.init_params(0), data[1], history, "", [])
    )
    page = (tmp_path / "r.html").read_text()
    assert "Confusion" not in page
    assert "Accuracy" not in page


def test_judgement_of_scores() -> None:
    scores = np.array([[3.0, 1.0], [0.0, 2.0], [1.0, 5.0]])
    found = judged(scores, np.array([0, 0, 0]))
    assert found.margin.tolist() == [2.0, -2.0, -4.0]
    assert found.worst(5).tolist() == [2, 1]
    assert found.confusion().tolist() == [[1, 2], [0, 0]]


# ---------------------------------------------------------------- where a run went wrong


def test_memory_returns_to_the_bad_batch() -> None:
    params = {"w": np.zeros(1)}
    trained: list[tuple[list[int], dict]] = []

    def step(piece: tuple) -> None:
        trained.append((piece[0].tolist(), piece[1]))
        params["w"] += len(piece[0])

    memory = Memory(params, {}, batch=2)
    memory.take()
    pieces = [(np.arange(4), {"lr": 1.0}), (np.arange(4, 10), {"lr": 2.0})]
    for piece in pieces:
        memory.note(piece)
        step(piece)
    trained.clear()
    rows = memory.return_to(2, step)
    assert rows is not None
    assert rows.tolist() == [8, 9]
    assert trained == [([0, 1, 2, 3], {"lr": 1.0}), ([4, 5, 6, 7], {"lr": 2.0})]
    assert params["w"][0] == 8


def test_large_runs_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradwright.training.diverged.LARGEST", 7)
    memory = Memory({"w": np.zeros(1)}, {}, batch=2)
    memory.take()
    memory.note((np.arange(4), {}))
    assert memory.return_to(0, lambda piece: None) is None
    assert memory.since == []


def test_the_layer_is_named() -> None:
    params = {"fc1.W": np.array([1.0, -7.0]), "fc2.W": np.array([2.0])}
    gradient = {"fc1.W": np.array([np.nan]), "fc2.W": np.array([np.inf]), "fc3.W": np.zeros(1)}
    assert blame(params, gradient) == (
        "first gradient that is not finite: fc2.W",
        "every parameter was finite; the largest is fc1.W (7)",
    )
    assert blame({**params, "fc2.W": np.array([np.inf])}, gradient) == (
        "first parameter that is not finite: fc2.W",
    )


# ---------------------------------------------------------------- L-BFGS


def lbfgs_run(model, data, epochs: int, start=None) -> tuple:
    saved = []

    def save(position: Position, params: dict, state: dict) -> None:
        saved.append((position, {name: array.copy() for name, array in params.items()}))

    start = start or fresh(model, 0)
    plan = Plan(epochs, 32, 0)
    return full_batch.minimise(model, data, plan, Quiet(), save, start), saved


def test_lbfgs_learns_and_resumes_bit_for_bit(model, data, monkeypatch) -> None:
    monkeypatch.setattr(full_batch, "STEPS", 4)
    outcome, straight = lbfgs_run(model, data, 4)
    assert outcome.epochs[-1].accuracy > 0.85
    assert outcome.epochs[-1].loss < 0.3 * outcome.epochs[0].loss
    _, first = lbfgs_run(model, data, 2)
    position, params = first[-1]
    again = replace(fresh(model, 0), params=params, position=position)
    _, rest = lbfgs_run(model, data, 4, again)
    assert rest[-1][0] == straight[-1][0]
    assert all((rest[-1][1][n] == straight[-1][1][n]).all() for n in params)
