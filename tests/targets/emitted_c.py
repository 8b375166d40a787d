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
from compiler import driver
from compiler.schedule import loop_nest
from ir.kernel import Module

COMPILERS = [c for c in ("gcc", "clang") if shutil.which(c)]
STANDARDS = ("c99", "c11", "c++17")
_GCC = """
    -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wfloat-conversion -Wdouble-promotion
    -Wshadow -Wcast-align -Wcast-qual -Wundef -Wvla -Wnull-dereference -Wformat=2 -Wswitch-default
    -Wswitch-enum -Wredundant-decls -Wmissing-declarations -Wpointer-arith -Wwrite-strings
    -Wstrict-overflow=2 -Wstrict-aliasing=2 -Wlogical-op -Wduplicated-cond -Wduplicated-branches
    -Wunused-macros
""".split()
_GCC_C_ALONE = """
    -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wnested-externs
    -Wbad-function-cast
""".split()
# Everything that clang has, but for what it says of C99 and C++17 themselves and of two habits:
# floats are compared where equality is meant (a maximum with its own element, zero, NaN), and
# stores of a caller's pointer need casts that are C's. Clang 16 and later warn of any pointer
# arithmetic, which is what a kernel is made of.
_CLANG = """
    -Weverything -Wno-unknown-warning-option -Wno-declaration-after-statement -Wno-float-equal
    -Wno-old-style-cast -Wno-c++98-compat -Wno-c++98-compat-pedantic -Wno-pre-c++17-compat-pedantic
    -Wno-unsafe-buffer-usage
""".split()


def warnings(compiler: str, standard: str = "c99") -> list[str]:
    """Every warning that the compiler has, as errors; a C++ standard reads the .c files as C++."""
    language = ["-x", "c++"] if "++" in standard else []
    c_alone = [] if language or compiler != "gcc" else _GCC_C_ALONE
    asked = _CLANG if compiler == "clang" else [*_GCC, *c_alone]
    return [*language, f"-std={standard}", "-Werror", *asked]


BUILDS = [f"{c}{flag}" for flag in ("", " -DGW_NO_VECTORS") for c in COMPILERS]


def sources(module: Module) -> dict[str, str]:
    """The emitted texts by file name."""
    return emit(module, loop_nest)


def write(module: Module, folder: Path) -> Path:
    """The emitted files; the path of the loader."""
    driver.write(sources(module), folder)
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
    if " -O" in command:  # its own level of optimisation
        flags = [flag for flag in flags if not flag.startswith("-O")]
    command_line = [*command.split(), "-std=c99", *flags, "-shared", "-fPIC", *files, "-lm"]
    subprocess.run([*command_line, "-o", str(library)], check=True)
    for module in modules:
        (folder / f"{module.name}.so").hardlink_to(library)
    return [load(path) for path in loaders]
