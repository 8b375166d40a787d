"""Emitted C in the tests: written to a folder, compiled with a given compiler, loaded."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from codegen.c.emit import emit
from compiler.schedule import loop_nest
from ir.kernel import Module

WARNINGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow")
COMPILERS = [c for c in ("gcc", "clang") if shutil.which(c)]
BUILDS = [f"{c}{flag}" for flag in ("", " -DGW_NO_VECTORS") for c in COMPILERS]


def sources(module: Module) -> dict[str, str]:
    """The emitted texts by file name."""
    return emit(module, loop_nest)


def write(module: Module, folder: Path) -> Path:
    """The emitted files; the path of the loader."""
    for name, text in sources(module).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / f"{module.name}_c.py"


def load(path: Path) -> ModuleType:
    """The module at a path, under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{abs(hash(path))}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def built(module: Module, folder: Path, command: str, patch: pytest.MonkeyPatch) -> ModuleType:
    """The emitted module compiled with a command, in a cache of its own."""
    patch.setenv("CC", command)
    patch.setenv("GRADWRIGHT_CACHE", str(folder / "cache"))
    return load(write(module, folder))


def built_together(modules: list[Module], folder: Path, command: str) -> list[ModuleType]:
    """Several modules in one library, beside each loader as if the user had built it."""
    loaders = [write(module, folder) for module in modules]
    flags = next(
        ast.literal_eval(line.removeprefix("FLAGS = "))
        for line in loaders[0].read_text(encoding="utf-8").splitlines()
        if line.startswith("FLAGS = ")
    )
    library = folder / "all.so"
    files = [str(folder / f"{module.name}.c") for module in modules]
    command_line = [*command.split(), "-std=c99", *flags, "-shared", "-fPIC", *files, "-lm"]
    subprocess.run([*command_line, "-o", str(library)], check=True)
    for module in modules:
        (folder / f"{module.name}.so").hardlink_to(library)
    return [load(path) for path in loaders]
