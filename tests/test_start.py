"""What comes before the first line of work: imports that wait, templates compiled once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import DictLoader, Environment

import gradwright as gw
from codegen.c.scalars import shortest, single
from codegen.render import Beside


def test_import_waits_for_what_a_compilation_does_not_need() -> None:
    code = "import sys, gradwright; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "compiler.pipeline" in loaded
    later = {"numpy", "jinja2", "torch", "jax", "codegen.c.emit", "compiler.check", "typer"}
    assert not loaded & later


def test_every_public_name_is_there() -> None:
    assert all(getattr(gw, name) is not None for name in gw.__all__)
    assert set(gw.__all__) <= set(dir(gw))
    with pytest.raises(AttributeError, match="'gradwright' has no attribute 'relux'"):
        gw.relux  # noqa: B018


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_is_written_in_the_fewest_digits(value: float) -> None:
    assert np.float32(shortest(value)) == np.float32(value)
    plain = np.format_float_scientific(np.float32(value), unique=True).split("e")[0]
    assert len(shortest_digits(value)) <= len(plain.replace(".", "").replace("-", ""))


def shortest_digits(value: float) -> str:
    digits = shortest(value).lower().split("e")[0].replace(".", "").replace("-", "").strip("0")
    return digits or "0"


def test_what_is_too_large_for_float32_is_infinite() -> None:
    assert single(1e39) == float("inf")
    assert single(0.1) == float(np.float32(0.1))


# ---------------------------------------------------------------- templates as bytecode


def rendered(folder: Path, text: str) -> str:
    """What a process of its own would render: a new environment, the same folder."""

    class Loader(DictLoader):
        def get_source(self, environment, template):  # type: ignore[no-untyped-def]
            source, _, fresh = super().get_source(environment, template)
            return source, str(folder / template), fresh

    made = Environment(loader=Loader({"t.c.jinja": text}), bytecode_cache=Beside())
    return made.get_template("t.c.jinja").render(x=3)


@pytest.fixture
def writing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)


@pytest.mark.usefixtures("writing")
def test_a_template_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rendered(tmp_path, "{{ x }} of {{ x }}") == "3 of 3"
    (made,) = (tmp_path / "__pycache__").iterdir()
    assert made.name.startswith("t.c.")
    with monkeypatch.context() as patch:
        patch.setattr(Environment, "compile", None)
        assert rendered(tmp_path, "{{ x }} of {{ x }}") == "3 of 3", "found, not compiled"
    assert rendered(tmp_path, "{{ x }} more") == "3 more", "another text is another template"


@pytest.mark.usefixtures("writing")
@pytest.mark.parametrize("keep", [0, 1, 64, 100, 128, 200, -1])
def test_a_broken_file_is_no_file(tmp_path: Path, keep: int) -> None:
    rendered(tmp_path, "{{ x }}")
    (made,) = (tmp_path / "__pycache__").iterdir()
    whole = made.read_bytes()
    made.write_bytes(whole[:keep])
    assert rendered(tmp_path, "{{ x }}") == "3"
    assert made.read_bytes() == whole
    made.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert rendered(tmp_path, "{{ x }}") == "3"


@pytest.mark.usefixtures("writing")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").write_text("a file where the folder would be")
    assert rendered(tmp_path, "{{ x }}") == "3"


def test_nothing_is_written_where_python_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert rendered(tmp_path, "{{ x }}") == "3"
    assert list(tmp_path.iterdir()) == []
