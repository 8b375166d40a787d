"""Hostile names in every place a name can stand: refused, or harmless in every output.

`refused` places take only names of the allow-list. Files and folders may be called anything, so
there the outputs are compared with those of a harmless name: the same program, the same markup.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import gradwright as gw
from compiler import notation
from compiler.driver import emit
from compiler.trace import current
from gradwright import cli
from gradwright.inspection.page import network_page
from gradwright.model_file import ModelFile
from gradwright.training.sources import choose
from ir.errors import GradwrightError, Origin
from tests.hostile_names import NAMES

Place = Callable[[Any], object]


def net_with(inside: Callable[[Any, Any], Any]) -> gw.Network:
    """A network that does something with its input while it is traced."""

    @gw.network
    def net(x: gw.f32["batch", 3]):
        h = gw.dense(x, 3, name="fc1")
        inside(x, h)
        return gw.outputs(loss=gw.mse(h, x), h=h)

    return net


def inside(action: Callable[[Any, Any], object]) -> None:
    net_with(action).trace()


def network_called(name: Any) -> object:
    def function(x: gw.f32["batch", 3]): ...

    function.__name__ = name if isinstance(name, str) else repr(name) + "!"
    return gw.network(function)


def annotated(name: Any) -> object:
    @gw.network
    def net(x):
        return gw.outputs(h=gw.relu(x))

    net.function.__annotations__["x"] = gw.f32[name, 3]
    return net.trace()


n = gw.index("n")
PLAIN = net_with(lambda x, h: None)
REFUSED: dict[str, Place] = {
    "network": network_called,
    "size of an input": annotated,
    "input": lambda name: inside(lambda x, h: current().claim(name, "input", None)),
    "parameter": lambda name: inside(lambda x, h: gw.param(name, (3,))),
    "buffer": lambda name: inside(lambda x, h: gw.buffer(name, (3,))),
    "layer": lambda name: inside(lambda x, h: gw.dense(x, 3, name=name)),
    "scope": lambda name: inside(lambda x, h: gw.dense(x, 3, name=f"{name}.a")),
    "part": lambda name: inside(lambda x, h: gw.dense(x, 3, name=f"a.{name}")),
    "definition": lambda name: inside(
        lambda x, h: notation.define_as("a", (n,), x[n, 0] * 2, name=name)
    ),
    "output": lambda name: inside(lambda x, h: gw.outputs(**{str(name): h})),
    "index": gw.index,
    "size of an index": lambda name: gw.index("n", name),
    "free tensor": lambda name: gw.tensor(name, (3,)),
    "frozen": lambda name: emit(PLAIN, target="numpy", freeze=[name]),
    "type": lambda name: emit(PLAIN, target="numpy", dtype=name),
    "target": lambda name: emit(PLAIN, target=name),
    "optimizer": gw.optimizer,
    "derived": lambda name: gw.derive(PLAIN, wrt=name),
    "derived expression": lambda name: gw.derive(name, wrt=gw.tensor("x", 3)[0]),
    "operand": lambda name: inside(lambda x, h: x + name),
    "pass": lambda name: gw.lower_to_text(PLAIN, stop_after=name),
    "data": lambda name: choose(str(name), None, print, lambda *said: None),
}
# What is meant well here: a number is an extent and an operand, None and "" leave something out.
MEANT = {
    "layer": (None, ""), "definition": (None, ""),
    "size of an index": (None, 7), "operand": (7, 1.5),
    "type": (None,), "size of an input": (7,), "derived expression": (7, 1.5),
    "data": (".", "..", "../a", "~/a", "file:///a"),
}  # fmt: skip


@pytest.mark.parametrize("place", REFUSED)
def test_no_hostile_name_gets_in(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        if any(name is m or (name == m and type(name) is type(m)) for m in MEANT.get(place, ())):
            continue
        try:
            REFUSED[place](name)
        except GradwrightError:
            continue
        pytest.fail(f"{place} {name!r} was accepted")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- files and folders


SOURCE = """import gradwright as gw


@gw.network
def net(x: gw.f32["batch", 3], label: gw.i32["batch"]):
    h = gw.relu(gw.dense(x, 4, name="fc1"))
    return gw.outputs(loss=gw.cross_entropy(h, label), h=h)
"""
FILES = [
    name for name in NAMES
    if isinstance(name, str) and len(name) < 100 and name.strip(".")
    and not set(name) & {"/", "\0", "\ud800"}
]  # fmt: skip


def program(file: Path) -> dict[str, str]:
    """What is emitted for a model file: Python as its tree, C without its comments."""
    linecache.clearcache()
    network = ModelFile(file, None).load()
    made = {**emit(network, target="numpy", batch=4), **emit(network, target="c", batch=4)}
    return {name: bare(name, text) for name, text in made.items()}


def bare(name: str, text: str) -> str:
    text.encode()
    if name.endswith(".py"):
        return re.sub(r'BUILD_ID = .*|"[0-9a-f]{32,}"', "", ast.unparse(ast.parse(text)))
    assert "??" not in text
    assert "\\\n" not in re.sub(r"(?m)^#define.*(\\\n.*)*", "", text)
    code = re.sub(r'/\*.*?\*/|"[^"\n]*"', "", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", code)


def markup(text: str) -> list[str]:
    """The tags of a page and the names of their attributes, in order."""
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append(  # type: ignore[method-assign]
        " ".join([tag, *(name for name, _ in attributes)])
    )
    parser.feed(text)
    return found


def put(folder: Path, name: str) -> Path:
    file = folder / f"{name}.py"
    file.write_text(SOURCE, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", FILES[3 :: len(FILES) - 4], ids=ascii)
def test_a_file_may_be_called_anything(name: str, tmp_path: Path) -> None:
    hostile = put(tmp_path, name)
    (tmp_path / "plain").mkdir()
    plain = put(tmp_path / "plain", Origin(str(hostile), 1).short.removesuffix(".py:1"))
    assert program(hostile) == program(plain)
    pages = [network_page(ModelFile(file, None).load()) for file in (plain, hostile)]
    assert markup(pages[0]) == markup(pages[1])
    latex = [gw.derive(ModelFile(f, None).load(), wrt="fc1.W").latex() for f in (plain, hostile)]
    assert latex[0] == latex[1]


def test_messages_show_the_name_of_a_file_on_one_line() -> None:
    for name in FILES:
        short = Origin(f"/a/{name}.py", 7).short
        assert re.fullmatch(r"[\w.+ -]+:7", short), name
        assert short.encode()
    assert Origin("<stdin>", 1).short == "stdin:1"
    assert Origin("/a/mnist_mlp.py", 12).short == "mnist_mlp.py:12"


def test_a_folder_may_be_called_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    name = "<b>\n[red]*{{7}}\x1b[31m-%s\\ '\"\u202e\udcff"
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(SOURCE.replace('"batch", 3', '"batch", 64').replace("4,", "10,"))
    options = ["--data", "digits", "--epochs", "1", "--target", "numpy"]
    for code, arguments in (
        (0, ["compile", "net.py", "--target", "numpy", f"--out=./{name}/a"]),
        (0, ["train", "net.py", *options, f"--out=./{name}/b"]),
        (2, ["train", f"./{name}.py", *options]),
        (2, ["train", "net.py", f"--data=./{name}"]),
        (2, ["predict", "net.py", f"./{name}", f"--checkpoint=./{name}"]),
    ):
        monkeypatch.setattr("sys.argv", ["gradwright", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfdbinary.readouterr()
        assert (ended.value.code or 0, b"Traceback" in said.err) == (code, False), said
    assert (Path(name) / "b").is_dir()
    assert {path.name for path in Path().iterdir()} == {"net.py", name}
