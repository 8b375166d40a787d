"""The command line, run in this process: what it prints, its exit codes, the files it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import gradwright as gw
from gradwright import cli
from gradwright.training import sources
from gradwright.training.checkpoint import FILE_NAME, load
from gradwright.training.progress import PlainLines
from ir.errors import DataError

ROOT = Path(__file__).resolve().parent.parent
HEAD = "import gradwright as gw\n\n\n"
NET = """@gw.network
def net(x: gw.f64["batch", 64], label: gw.i32["batch"]):
    logits = gw.dense(x, 10, name="fc")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)
"""
OTHER = NET.replace("net(x", "other(x").replace("logits = ", "x = gw.dense(x, 5)\n    logits = ")


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`run("compile", "net.py")` in a folder of its own that holds net.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRADWRIGHT_DATA", raising=False)
    Path("net.py").write_text(HEAD + NET)

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["gradwright", *map(str, arguments)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return call


def train_arguments(*more: object) -> tuple[object, ...]:
    return ("train", "net.py", "--data", "digits", "--target", "numpy", *more)


COMMANDS = ["compile", "train", "predict", "inspect", "check", "bench", "data fetch", "data verify"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(run, command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.code == 0
    assert f"Example: gradwright {command} " in " ".join(result.out.split())


def test_it_says_its_version(run) -> None:
    assert run("--version").out == f"gradwright {gw.__version__}\n"


@pytest.mark.parametrize(("target", "file"), [("numpy", "net_numpy.py"), ("c", "net.c")])
def test_compile_writes_the_source(run, target: str, file: str) -> None:
    result = run("compile", "net.py", "--target", target, "--batch", 16, "--out", "made")
    assert result.code == 0
    assert Path("made", file).is_file()
    assert result.out.startswith(f"net: {target} float64, batch 16, workspace ")


def test_compile_takes_the_networks_own_type_unless_told(run) -> None:
    assert "float64" in run("compile", "net.py", "--target", "numpy").out
    assert "float32" in run("compile", "net.py", "--target", "numpy", "--dtype", "float32").out


def test_compile_takes_the_portable_build(run) -> None:
    assert run("compile", "net.py", "--target", "c", "--portable", "--out", "made").code == 0
    assert "-ffp-contract=off" in Path("made", "net_c.py").read_text(encoding="utf-8")


def test_train_prints_lines_and_saves(run) -> None:
    result = run(*train_arguments("--epochs", 3, "--batch", 16))
    lines = result.out.splitlines()
    assert result.code == 0
    assert lines[0].startswith("net: 650 parameters, numpy float64, batch 16, sgd lr 0.1, seed 0")
    assert lines[1].startswith("digits: 1437 training and 360 test images of 8x8")
    assert [line[:9] for line in lines[3:6]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert lines[6].startswith("hint: the loss still fell by ")
    figures = dict(line.split(maxsplit=1) for line in lines[8:] if "accuracy" not in line)
    assert figures["epochs"] == "3 of 3, 270 steps"
    assert figures["checkpoint"] == str(Path("runs/net", FILE_NAME))
    accuracy = next(line for line in lines if line.startswith("test accuracy"))
    assert float(accuracy.split()[2]) > 80
    assert load(Path("runs/net")).position.epoch == 3


def test_resume_gives_the_bytes_of_one_run(run) -> None:
    run(*train_arguments("--epochs", 3, "--seed", 4, "--out", "straight", "--lr", 0.2))
    run(*train_arguments("--epochs", 1, "--seed", 4, "--out", "parts", "--lr", 0.2))
    result = run("train", "net.py", "--epochs", 3, "--resume", "parts")
    assert result.code == 0
    assert "numpy float64, batch 128, sgd lr 0.2, seed 4" in result.out
    assert Path("parts", FILE_NAME).read_bytes() == Path("straight", FILE_NAME).read_bytes()


def test_interrupt_saves_and_says_how_to_go_on(run, monkeypatch: pytest.MonkeyPatch) -> None:
    run(*train_arguments("--epochs", 2, "--out", "straight"))
    advanced = PlainLines.advanced

    def interrupt(self: PlainLines, done: int, *rest: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(PlainLines, "advanced", interrupt)
    result = run(*train_arguments("--epochs", 2, "--out", "parts"))
    assert result.code == 130
    assert "go on with --resume parts" in result.out
    assert load(Path("parts")).position.step == 1
    monkeypatch.setattr(PlainLines, "advanced", advanced)
    assert run("train", "net.py", "--epochs", 2, "--resume", "parts").code == 0
    assert Path("parts", FILE_NAME).read_bytes() == Path("straight", FILE_NAME).read_bytes()


def test_a_run_can_be_seen_in_files(run) -> None:
    places = ("--report", "run.html", "--csv", "run.csv", "--tensorboard", "events")
    result = run(*train_arguments("--epochs", 2, *places))
    assert result.code == 0
    assert result.out.endswith("report             run.html\n")
    assert "Confusion matrix" in Path("run.html").read_text()
    assert len(Path("run.csv").read_text().splitlines()) == 3
    assert Path("run.csv").read_text() == Path("runs/net/history.csv").read_text()
    assert len(list(Path("events").iterdir())) == 1
    again = run("train", "net.py", "--epochs", 3, "--resume", "runs/net", "--csv", "run.csv")
    assert again.code == 0
    assert [row.split(",")[0] for row in Path("run.csv").read_text().splitlines()] == [
        *("epoch", "1", "2", "3")
    ]


def test_lbfgs_trains_and_takes_no_rate(run) -> None:
    result = run(*train_arguments("--optimizer", "lbfgs", "--epochs", 2))
    assert result.code == 0
    assert "lbfgs" in result.out
    assert load(Path("runs/net")).position.step == 20
    refused = run(*train_arguments("--optimizer", "lbfgs", "--lr", 0.1))
    assert refused.code == 2
    assert "--lr has no meaning with --optimizer lbfgs" in refused.err


def test_a_small_data_set_gets_more_epochs(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradwright.train_run.SMALL_EPOCHS", 2)
    assert "epochs             2 of 2" in run(*train_arguments()).out


def test_second_run_gets_a_folder_of_its_own(run) -> None:
    for folder in ("runs/net", "runs/net-2"):
        run(*train_arguments("--epochs", 0))
        assert Path(folder, FILE_NAME).is_file()
    result = run(*train_arguments("--out", "runs/net"))
    assert result.code == 2
    assert "OutputError: runs/net holds the checkpoint of another run" in result.err


def test_learning_rate_may_change_on_resume(run) -> None:
    run(*train_arguments("--epochs", 1))
    result = run("train", "net.py", "--epochs", 2, "--resume", "runs/net", "--lr", 0.01)
    assert result.code == 0
    assert "sgd lr 0.01" in result.out
    assert load(Path("runs/net")).settings.lr == 0.01


@pytest.mark.parametrize(
    "change", ["--seed 1", "--batch 64", "--dtype float32", "--optimizer momentum"]
)
def test_other_changes_on_resume_are_refused(run, change: str) -> None:
    run(*train_arguments("--epochs", 0))
    result = run("train", "net.py", "--resume", "runs/net", *change.split())
    assert result.code == 2
    assert result.err.startswith(f"CheckpointError: {change} is not that of the checkpoint")


def test_checkpoint_of_another_network_is_refused(run) -> None:
    run(*train_arguments("--epochs", 0))
    Path("net.py").write_text(HEAD + OTHER)
    result = run("train", "net.py", "--resume", "runs/net", "--out", "new")
    assert result.code == 2
    assert "checkpoint of another network" in result.err
    assert "network: expected other, found net" in result.err
    assert not Path("new").exists()


def test_diverging_run_stops_with_the_step(run) -> None:
    result = run(*train_arguments("--epochs", 3, "--lr", 1.7e308))
    assert result.code == 2
    assert result.err.startswith("DivergedError: ")
    assert " at step " in result.err
    assert load(Path("runs/net")).position.epoch == 0


def test_images_that_do_not_fit_leave_nothing(run) -> None:
    Path("net.py").write_text(HEAD + NET.replace(", 64]", ", 65]"))
    result = run(*train_arguments())
    assert result.code == 2
    assert "found: 8x8, 64 numbers an image" in result.err
    assert not any(Path("runs").glob("*"))


def test_auto_says_in_one_line_why_it_takes_digits(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise DataError("train-images could not be downloaded", notes=("host: no connection",))

    monkeypatch.setattr(sources, "fetch", offline)
    result = run("train", "net.py", "--target", "numpy", "--epochs", 0)
    assert result.code == 0
    assert result.out.startswith(
        "MNIST could not be had (train-images could not be downloaded; host: no connection)"
    )
    failed = run("train", "net.py", "--data", "mnist", "--target", "numpy")
    assert failed.code == 2
    assert failed.err.startswith("DataError: train-images could not be downloaded")


def test_inspect_shows_definitions_and_derivations(run) -> None:
    assert "fc" in run("inspect", "net.py").out
    assert run("inspect", "net.py", "--wrt", "fc.W").out.strip()
    assert run("inspect", "net.py", "--wrt", "fc.W", "--format", "latex").out.strip()


def test_inspect_after_each_pass(run) -> None:
    import gradwright as gw

    for name in gw.PASSES:
        result = run("inspect", "net.py", "--stop-after", name, "--batch", 4)
        assert (result.code, bool(result.out.strip())) == (0, True), name


def test_check_passes_on_a_right_gradient(run) -> None:
    result = run("check", "net.py")
    assert result.code == 0
    assert result.out.strip()


def test_check_fails_with_one(run, monkeypatch: pytest.MonkeyPatch) -> None:
    import gradwright as gw

    class Wrong:
        ok = False

        def text(self) -> str:
            return "fc.W differs"

    monkeypatch.setattr(gw, "gradcheck", lambda network, seed: Wrong())
    result = run("check", "net.py")
    assert (result.code, result.out) == (1, "fc.W differs\n")


def test_bench_shows_functions_and_kernels_within_100_columns(run) -> None:
    result = run("bench", "net.py", "--batch", 4, "--repeats", 3, "--top", 2)
    assert result.code == 0
    lines = result.out.splitlines()
    assert max(map(len, lines[2:])) <= 100
    for name in ("forward", "value_and_grad", "train_step", "fused, net.py:", "of limit"):
        assert name in result.out
    assert "GFLOP/s in multiply-adds" in lines[2]


def test_bench_of_numpy_names_each_function(run) -> None:
    result = run("bench", "net.py", "--target", "numpy", "--batch", 4, "--repeats", 3)
    assert result.code == 0
    names = [line.split()[0] for line in result.out.splitlines() if line.strip()]
    assert {"forward", "value_and_grad", "train_step"} <= set(names)
    assert "with --target c" in result.out


def test_bench_as_json(run) -> None:
    result = run("bench", "net.py", "--batch", 4, "--repeats", 3, "--json")
    found = json.loads(result.out)
    assert (found["name"], found["target"], found["batch"]) == ("net", "c", 4)
    assert [f["name"] for f in found["functions"]] == ["forward", "value_and_grad", "train_step"]
    assert all(k["cost"]["read"] > 0 and k["limit"] > 0 for k in found["kernels"])
    assert found["limits"]["peak"] > 0


def test_data_verify_shows_every_file(run, tmp_path: Path) -> None:
    Path("mnist").mkdir()
    Path("mnist/train-labels-idx1-ubyte").write_bytes(b"<html>")
    result = run("data", "verify", "mnist", "--data-dir", tmp_path)
    assert result.code == 2
    assert len(result.out.splitlines()) == 5
    assert result.err.count("DataError: ") == 4
    assert "an HTML page" in result.err


BROKEN = {
    "x = (\n": ("ModelFileError: net.py is not valid Python: '(' was never closed", "net.py:1"),
    "x = 1 / 0\n": ("ModelFileError: ZeroDivisionError: division by zero", "net.py:1   x = 1 / 0"),
    "raise SystemExit(3)\n": ("ModelFileError: net.py ended the program (exit code 3)", "net.py:1"),
    "x = 1\n": ("InvalidNameError: net.py holds no network", "@gw.network"),
    HEAD + NET + OTHER: ("InvalidNameError: net.py holds 2 networks", "found: net, other"),
    HEAD + NET.replace("    logits", "    {}['k']\n    logits", 1): (
        "ModelFileError: KeyError: 'k'",
        "net.py:6   {}['k']",
    ),
    HEAD + NET.replace("dense(x, 10", "dense(x, -1"): ("Error: ", "net.py:6   logits = gw.dense"),
    HEAD + NET.replace("dense(x, 10", "dense(x, 10, relu=True"): (
        "ModelFileError: TypeError: dense() got an unexpected keyword argument 'relu'",
        "net.py:6   logits = gw.dense",
        "gw.dense takes (x, features, name=None, bias=True",
    ),
    "\0": ("ModelFileError: net.py is not valid Python", "null bytes"),
}


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("command", ["compile --out made", "train --data digits", "check"])
def test_mistakes_in_the_model_file_name_the_line(run, text: str, command: str) -> None:
    Path("net.py").write_text(text)
    name, *options = command.split()
    result = run(name, "net.py", *options)
    assert result.code == 2
    for part in BROKEN[text]:
        assert part in result.err
    assert "Traceback" not in result.err
    assert not Path("made").exists()
    assert not any(Path("runs").glob("*"))


def test_network_is_chosen_by_name(run) -> None:
    Path("net.py").write_text(HEAD + NET + OTHER)
    assert run("compile", "net.py:other", "--target", "numpy").out.startswith("other: ")
    result = run("compile", "net.py:third")
    assert result.code == 2
    assert "net.py holds no network third" in result.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("compile", "none.py"), "none.py cannot be read: No such file"),
        (("compile", "net.py", "--optimizer", "magic"), "magic"),
        (("compile", "net.py", "--batch", "0"), "--batch"),
        (("compile", "net.py", "--target", "rust"), "rust"),
        (("inspect", "net.py", "--stop-after", "nowhere"), "there is no pass nowhere"),
        (("inspect", "net.py", "--format", "latex"), "say with --wrt"),
        (("inspect", "net.py", "--wrt", "fc.W", "--stop-after", "lower"), "leave one out"),
        (("train", "net.py", "--resume", "nowhere"), "nowhere cannot be read"),
        (("train", "net.py", "--data", "nowhere"), "nowhere is neither"),
    ],
)
def test_wrong_options(run, arguments: tuple[str, ...], says: str) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert says in result.err
    assert "Traceback" not in result.err


def test_it_runs_as_a_module(run) -> None:
    command = [sys.executable, "-m", "gradwright", "compile", "none.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("ModelFileError: none.py cannot be read")
    assert done.stdout == ""
