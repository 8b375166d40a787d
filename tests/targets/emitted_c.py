"""Emitted C in the tests: written to a folder, compiled with a given compiler, loaded."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from codegen.c.emit import emit
from compiler.schedule import loop_nest
from ir.kernel import Module

WARNINGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow")
COMPILERS = [c for c in ("gcc", "clang") if shutil.which(c)]
BUILDS = [f"{c}{flag}" for c in COMPILERS for flag in ("", " -DGW_NO_VECTORS")]


def write(module: Module, folder: Path) -> Path:
    """The emitted files; the path of the loader."""
    for name, text in emit(module, loop_nest).items():
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
