"""The folder of a run: never another's, one run at a time, nothing left of one that failed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from gradwright.training.checkpoint import FILE_NAME
from gradwright.training.runs import BusyFolderError, run_folder
from gradwright.training.whole_file import remove_leftovers, write_whole
from ir.errors import OutputError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def chosen(out: Path | None = None, resume: Path | None = None) -> Path:
    """The folder of a run that saves its first checkpoint."""
    with run_folder("net", out, resume) as folder:
        (folder / FILE_NAME).touch()
        return folder


def test_runs_are_never_written_over() -> None:
    assert chosen() == Path("runs/net")
    assert chosen() == Path("runs/net-2")
    Path("runs/net-3").mkdir()
    Path("runs/net-3/thesis.txt").write_text("mine")
    assert chosen() == Path("runs/net-4")
    assert chosen(None, Path("runs/net")) == Path("runs/net")
    assert chosen(Path("runs/net"), Path("runs/net")) == Path("runs/net")
    with pytest.raises(OutputError, match="checkpoint of another run"):
        chosen(Path("runs/net"))
    with pytest.raises(OutputError, match="is a file"):
        chosen(Path("runs/net-3/thesis.txt"))
    with pytest.raises(OutputError, match=r"runs/net-3/thesis\.txt/a cannot be made: Not a dir"):
        chosen(Path("runs/net-3/thesis.txt/a"))


def test_two_runs_do_not_share_a_folder() -> None:
    with ExitStack() as both:
        first = both.enter_context(run_folder("net", None, None))
        assert both.enter_context(run_folder("net", None, None)) == Path("runs/net-2")
        (first / FILE_NAME).touch()
        for out, resume in ((None, first), (first, first), (None, first / FILE_NAME)):
            with pytest.raises(BusyFolderError, match="another run is working in runs/net"):
                chosen(out, resume)
    assert chosen(None, first) == first


def test_two_processes_do_not_share_a_folder() -> None:
    holder = (
        "import sys; from pathlib import Path; from gradwright.training.runs import run_folder\n"
        "with run_folder('net', Path('mine'), None): print('held', flush=True); sys.stdin.read()"
    )
    with holding(holder) as process:
        with pytest.raises(BusyFolderError):
            chosen(Path("mine"))
        process.kill()
        process.wait()
        assert chosen(Path("mine")) == Path("mine"), "the lock ends with its process"


class holding:
    """A process that has said its first word."""

    def __init__(self, script: str) -> None:
        self.script = script

    def __enter__(self) -> subprocess.Popen:
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", self.script]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def fail(out: Path | None) -> None:
    with run_folder("net", out, None) as folder:
        (folder / "net.c").touch()
        raise ZeroDivisionError


def test_a_run_that_never_started_leaves_nothing() -> None:
    for out in (None, Path("a/b/c")):
        with pytest.raises(ZeroDivisionError):
            fail(out)
    assert list(Path().iterdir()) == []
    Path("mine").mkdir()
    with pytest.raises(ZeroDivisionError):
        fail(Path("mine"))
    assert Path("mine/net.c").exists(), "a folder that was there before is kept"


def test_leftovers_of_killed_writers_are_removed() -> None:
    names = [".history.csv.77.tmp", ".net_c.py.x8_k.tmp", ".mine.tmp", "history.csv", "net.tmp"]
    for name in names:
        Path(name).touch()
    remove_leftovers(Path(), ["history.csv", "net"])
    assert sorted(p.name for p in Path().iterdir()) == [".mine.tmp", "history.csv", "net.tmp"]


def test_what_lies_under_the_hidden_name_is_not_written_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 7)
    Path("other").write_text("mine")
    Path(".a.7.tmp").symlink_to("other")
    write_whole(Path("a"), b"new")
    assert (Path("a").read_bytes(), Path("other").read_text()) == (b"new", "mine")


def test_an_interrupted_write_leaves_the_old_file_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(Path("a"), b"old")

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(Path("a"), b"new")
    assert [(p.name, p.read_bytes()) for p in Path().iterdir()] == [("a", b"old")]
