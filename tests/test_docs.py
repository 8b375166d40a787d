"""The documents: every block of Python runs and prints what stands below it, every link leads on.

A page's blocks are one program, run in an empty folder. A ```text block right after a ```python
block is what that block prints, `...` standing for anything. Options in ```console blocks must
exist. Notebooks run cell by cell; their stored output is not compared.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import re
import shlex
import sys
import types
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from textwrap import dedent

import pytest
import typer

import gradwright as gw
from gradwright import cli
from gradwright.model_file import ModelFile
from ir.errors import GradwrightError

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
EXECUTED = ["tutorial.md", "howto/new-op.md", "howto/inspect.md", "differentiation.md", "index.md"]
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, and the line of the page its text begins at."""

    language: str
    text: str
    line: int
    end: int


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [
        Block(m[1], m[2], text.count("\n", 0, m.start(2)), m.end()) for m in BLOCK.finditer(text)
    ]


def programs(path: Path) -> list[tuple[Block, str | None]]:
    """Each block of Python, and what it must print."""
    found, text = blocks(path), path.read_text(encoding="utf-8")
    made = []
    for block, after in zip(found, [*found[1:], None], strict=True):
        follows = after is not None and not text[block.end :].lstrip().find("```text")
        if block.language == "python":
            made.append((block, after.text if follows and after is not None else None))
    return made


def run(code: str, line: int, path: Path, names: dict[str, object]) -> str:
    """What it prints. The tracer reads a network's lines from a file, so there is one."""
    path.write_text("\n" * line + code, encoding="utf-8")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    return printed.getvalue()


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The names of a program in an empty folder; dataclasses want them in a module."""
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    return vars(module)


@pytest.mark.parametrize("page", EXECUTED)
def test_blocks_print_what_stands_below_them(page: str, names: dict, tmp_path: Path) -> None:
    pairs = programs(DOCS / page)
    assert pairs
    checker = doctest.OutputChecker()
    for number, (block, expected) in enumerate(pairs):
        printed = run(block.text, block.line, tmp_path / f"page{number}.py", names)
        if expected is None:
            assert not printed, f"{page}:{block.line} prints what the page does not show"
        else:
            shown = f"{page}:{block.line} prints\n{printed}\nnot\n{expected}"
            assert checker.check_output(expected, printed, FLAGS), shown


def quotes() -> dict[str, str]:
    """What the README shows of the perceptron: the update of fc1.W in both targets."""
    network = ModelFile.parse(str(ROOT / "examples/mnist_mlp.py")).load()
    texts = {t: gw.emit(network, target=t, batch=128) for t in ("numpy", "c")}
    numpy = texts["numpy"]["mnist_mlp_numpy.py"].splitlines()
    first = max(n for n, line in enumerate(numpy) if "# d_fc1.W[k, j] = " in line)
    c = texts["c"]["mnist_mlp.c"].splitlines()
    added = max(n for n, line in enumerate(c) if "gw_tile(" in line and "fc1_W + row" in line)
    tiles = max(n for n, line in enumerate(c[:added]) if "for (ptrdiff_t row = 0" in line)
    end = next(n for n, line in enumerate(c[tiles:], tiles) if line == closing(c[tiles]))
    return {
        "python": dedent("\n".join(takewhile(str.strip, numpy[first:]))),
        "c": dedent("\n".join(c[tiles : end + 1])),
    }


def closing(opening: str) -> str:
    """The line that closes the block of this one."""
    return opening[: len(opening) - len(opening.lstrip())] + "}"


def test_the_readme_quotes_what_is_emitted() -> None:
    """The last block of each language before "Train it"; `make generated` writes them afresh."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, title, rest = text.partition("## Train it")
    for language, quoted in quotes().items():
        assert 4 < quoted.count("\n") + 1 < 20
        before, opens, shown = head.rpartition(f"```{language}\n")
        head = f"{before}{opens}{quoted}\n{shown[shown.index('```'):]}"
    if os.environ.get("GRADWRIGHT_UPDATE") == "1":
        readme.write_text(head + title + rest, encoding="utf-8")
        return
    assert text == head + title + rest, "README.md quotes other code: run `make generated`"


def test_the_comparison_can_fail() -> None:
    checker = doctest.OutputChecker()
    assert checker.check_output("loss 0.1...\n", "loss 0.123\n", FLAGS)
    assert not checker.check_output("loss 0.2...\n", "loss 0.123\n", FLAGS)


def test_there_are_three_notebooks() -> None:
    assert len(NOTEBOOKS) == 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_notebooks_run(path: Path, names: dict, tmp_path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code
    for number, source in enumerate(code):
        run(source, 0, tmp_path / f"cell{number}.py", names)
    assert all(cell.get("outputs", []) == [] for cell in cells), "stored output goes stale"


def test_links_lead_to_files() -> None:
    broken = []
    for page in PAGES:
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{name_of(page)}: {target}")
    assert broken == []


def test_the_api_names_every_public_function_and_class_where_it_is() -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^::: (\S+)$", page, re.MULTILINE))
    for name in gw.__all__:
        thing = getattr(gw, name)
        if isinstance(thing, (types.FunctionType, type)) and thing is not GradwrightError:
            assert f"{thing.__module__}.{thing.__name__}" in shown, name
            assert thing.__doc__, name
    assert len(shown) > 100


def commands() -> dict[str, set[str]]:
    """Every command line of the program, with its options."""
    root = typer.main.get_command(cli.app)
    found: dict[str, set[str]] = {}

    def walk(command: object, name: str) -> None:
        found[name] = {o for p in command.params for o in p.opts}  # type: ignore[attr-defined]
        for child, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{name} {child}".strip())

    walk(root, "")
    return found


def test_command_lines_use_options_that_exist() -> None:
    known = commands()
    seen = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        shown = "\n".join(b.text for b in blocks(page) if b.language == "console") if text else ""
        for line in shown.splitlines():
            words = shlex.split(line)
            if words[:1] != ["gradwright"]:
                continue
            seen += 1
            name = " ".join(words[1:3]) if words[1] == "data" else words[1]
            options = {word for word in words if word.startswith("--")}
            assert options <= known[name], f"{name_of(page)}: {line}"
    assert seen > 5


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"\S+\.md", menu))
    pages = list(DOCS.rglob("*.md"))
    assert {p.relative_to(DOCS).as_posix() for p in pages} == listed
