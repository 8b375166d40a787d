"""The laws of the house, read off the source: imports, the map, packages, what must not be there.

Nothing here runs the compiler. Imports are read from the syntax tree, those inside functions and
`if TYPE_CHECKING` included, so that a law cannot be got round by importing late.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOUSES = ("ir", "compiler", "codegen", "gradwright")
STANDARD = sys.stdlib_module_names | {"__future__"}


def tracked(*patterns: str) -> list[Path]:
    """The files git knows or would add; outside a checkout, every file that is not hidden."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        found = [ROOT / line for line in listing.stdout.splitlines()]
    else:
        found = [p for pattern in patterns or ("*",) for p in ROOT.rglob(pattern)]
    return sorted({p for p in found if p.is_file() and ".venv" not in p.parts})


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


SOURCES = [p for p in tracked("*.py", "*.jinja") if name_of(p).split("/")[0] in HOUSES]
MODULES = [p for p in SOURCES if p.suffix == ".py"]


def imports(path: Path) -> set[str]:
    """The dotted names a file imports: `from a.b import c` counts as a.b and a.b.c."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: relative import"
            assert node.module is not None
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


# ---------------------------------------------------------------- who may import whom


ALLOWED = {
    "ir": {"ir", "sympy"},
    "codegen": {"codegen", "ir", "sympy", "numpy", "jinja2"},
    "compiler": {"compiler", "ir", "sympy", "numpy"},
}


def may_import(path: Path) -> set[str]:
    house = name_of(path).split("/")[0]
    allowed = ALLOWED[house] | STANDARD
    return allowed | {"codegen"} if name_of(path) == "compiler/driver.py" else allowed


@pytest.mark.parametrize(
    "path", [p for p in MODULES if name_of(p).split("/")[0] in ALLOWED], ids=name_of
)
def test_imports_point_one_way(path: Path) -> None:
    assert roots(path) <= may_import(path)


PASSES = (
    *("lower", "stabilise", "differentiate", "simplify", "prune", "update"),
    *("fuse", "memory", "schedule"),
)


def test_passes_do_not_import_one_another() -> None:
    found = [ROOT / "compiler" / f"{name}.py" for name in PASSES]
    for path in found:
        others = {f"compiler.{name}" for name in PASSES} - {f"compiler.{path.stem}"}
        assert not imports(path) & (others | {"compiler.pipeline", "compiler.driver"}), path.stem


def test_emitted_modules_need_nothing_of_ours() -> None:
    found = tracked("generated/*.py")
    assert found
    for path in found:
        assert roots(path) <= STANDARD | {"numpy"}, name_of(path)


def test_training_knows_modules_only_by_their_functions() -> None:
    """It may use the errors of ir and nothing else behind the face."""
    for path in tracked("gradwright/training/*.py"):
        behind = {n for n in imports(path) if n.split(".")[0] in {"ir", "compiler", "codegen"}}
        assert all(n == "ir.errors" or n.startswith("ir.errors.") for n in behind), name_of(path)


# ---------------------------------------------------------------- the map


def test_every_source_file_has_its_line_in_the_map() -> None:
    lines = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()
    mapped = [m[1] for line in lines if (m := re.match(r"\| `([^`]+)` \| \S", line))]
    wanted = {name_of(p) for p in SOURCES if p.stat().st_size}
    assert wanted - set(mapped) == set(), "not in ARCHITECTURE.md"
    gone = [m for m in mapped if not (ROOT / m).exists()]
    assert gone == [], "in ARCHITECTURE.md, but not in the tree"
    assert len(mapped) == len(set(mapped)), "listed twice"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.stat().st_size], ids=name_of)
def test_files_open_by_saying_how_to_read_them(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        assert ast.get_docstring(ast.parse(text)), "no docstring at the top"
    assert text.count("\n") <= 400, "more than one room"


# ---------------------------------------------------------------- what must not be there


# A rule belongs to one op; a transformation of whole networks (`def jvp(network)`) is none.
HAND_WRITTEN_RULE = re.compile(
    r"def (\w*fdiff|_eval_derivative|\w*backward|\w+_(vjp|jvp)|(vjp|jvp|adjoint_of|grad_of)_\w+)\b"
    r"|register_(gradient|derivative|vjp)|def(vjp|jvp)\b|\b(DERIVATIVES|ADJOINTS|GRADIENTS)\s*[:=]"
)


@pytest.mark.parametrize(
    "line",
    ["def fdiff(self, argindex=1):", "def tanh_backward(y, dy):", "@relu.defvjp", "ADJOINTS = {"],
)
def test_the_search_finds_a_rule(line: str) -> None:
    assert HAND_WRITTEN_RULE.search(line)


def test_no_derivative_is_written_by_hand() -> None:
    """Law 1: every derivative is made from the forward line."""
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if HAND_WRITTEN_RULE.search(line)
    ]
    assert found == []


# Assembled from parts, so that this file does not hold what it looks for.
MACHINE_PATHS = [str(ROOT) + "/", *("/" + part + "/" for part in ("root", "work", "Users"))]
MACHINE_PATHS.append("/home" + "/")


def test_no_path_of_a_machine_is_tracked() -> None:
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{name_of(path)}: {p}" for p in MACHINE_PATHS if p in text]
    assert found == []


DANGEROUS = {
    "eval", "exec", "compile", "__import__", "lambdify", "parse_expr", "parse_latex", "mktemp",
    "os.system", "os.popen",
}  # fmt: skip
UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "yaml", "cPickle", "telnetlib"}
# The model file is a program that the user asks us to run; `compile` is also a name of ours.
MAY_RUN = {"gradwright/model_file.py": {"exec", "compile"}}
# Bytecode in `__pycache__`, which Python itself trusts as much.
MAY_LOAD = {"codegen/render.py": {"marshal"}}


def dangerous(tree: ast.AST) -> set[str]:
    """Calls that run text as a program, or read a file as one."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.split(".")[-1]
        last = name if name.startswith("os.") else last
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if last in DANGEROUS and (last != "compile" or name == "compile"):
            found.add(last)
        if keywords.get("shell", "False") != "False":
            found.add("shell")
        if name.endswith("np.load") and keywords.get("allow_pickle") != "False":
            found.add("np.load")
        if last == "sympify" and isinstance(node.args[0], ast.Constant | ast.JoinedStr):
            found.add("sympify")
    return found


@pytest.mark.parametrize(
    "line",
    ["eval(x)", "os.system(x)", "run(x, shell=True)", "np.load(x)", "sympify('x')", "exec(x)"],
)
def test_the_search_finds_danger(line: str) -> None:
    assert dangerous(ast.parse(line))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_read_is_run(path: Path) -> None:
    """No pickle, no eval, no shell: what a file or a name says is never a program."""
    found = dangerous(ast.parse(path.read_text(encoding="utf-8")))
    assert found <= MAY_RUN.get(name_of(path), set())
    assert roots(path) & UNSAFE_MODULES <= MAY_LOAD.get(name_of(path), set())


def test_nothing_is_fetched_without_tls() -> None:
    found = [
        f"{name_of(path)}: {line.strip()}"
        for path in MODULES
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"http://(?!www\.w3\.org/)", line)
    ]
    assert found == []


# ---------------------------------------------------------------- the package


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def test_every_package_is_listed() -> None:
    folders = {p.parent for p in MODULES}
    assert {name_of(f).replace("/", ".") for f in folders} == set(SETUPTOOLS["packages"])


def test_every_file_that_is_not_python_is_shipped() -> None:
    for path in tracked(*(f"{house}/*" for house in HOUSES)):
        if path.suffix == ".py":
            continue
        package = next(p for p in path.parents if (p / "__init__.py").exists())
        patterns = SETUPTOOLS["package-data"].get(name_of(package).replace("/", "."), [])
        inside = path.relative_to(package).as_posix()
        assert any(fnmatch(inside, pattern) for pattern in patterns), name_of(path)


def test_what_is_imported_is_declared() -> None:
    """Every import of the installed packages is the standard library's, ours, or a dependency."""
    declared = {re.split(r"[<>=!~\[ ]", d)[0] for d in PROJECT["project"]["dependencies"]}
    used = {root for path in MODULES for root in roots(path)} - STANDARD - set(HOUSES)
    assert used <= declared
    assert declared <= used


def test_there_is_one_version() -> None:
    driver = (ROOT / "compiler" / "driver.py").read_text(encoding="utf-8")
    found = re.findall(r'^VERSION = "(.+)"$', driver, re.MULTILINE)
    assert found == [PROJECT["project"]["version"]]


def test_the_makefile_explains_itself() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert declared
    explained = re.findall(r"^([a-z]+):.*## \S", text, re.MULTILINE)
    assert set(declared[1].split()) == set(explained)
