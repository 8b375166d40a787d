"""Load a network from a user's file, and turn what goes wrong in that file into a clear error.

    source = ModelFile.parse("examples/mnist_mlp.py:mnist_mlp")
    with source.errors():                 # from here on a mistake in the file names its line
        network = source.load()

A model file is a Python program and runs as one: load only files you would run. It is not run as
`__main__`, so its `if __name__ == "__main__":` block is left alone.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

import gradwright as gw
from ir.errors import GradwrightError, InvalidNameError, Origin


class ModelFileError(GradwrightError):
    """A model file that cannot be read, run, or traced."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """`PATH.py[:name]` as given on the command line."""

    path: Path
    name: str | None

    @staticmethod
    def parse(argument: str) -> ModelFile:
        """Split at the last colon, if a name follows it (a drive letter has a path after it)."""
        head, colon, tail = argument.rpartition(":")
        if colon and tail.isidentifier():
            return ModelFile(Path(head), tail)
        return ModelFile(Path(argument), None)

    def load(self) -> gw.Network:
        """Run the file and take its network.

        Raises `ModelFileError` for a file that is missing or does not run, `InvalidNameError` when
        it holds no network, none of that name, or several and no name was given.
        """
        module = self._run()
        networks = {n.name: n for n in vars(module).values() if isinstance(n, gw.Network)}
        if self.name is None and len(networks) == 1:
            return next(iter(networks.values()))
        if self.name is not None and self.name in networks:
            return networks[self.name]
        raise self._no_choice(list(networks))

    def _no_choice(self, names: list[str]) -> InvalidNameError:
        file = self.path.name
        if not names:
            return InvalidNameError(
                f"{file} holds no network", fix="put @gw.network above the function that builds it"
            )
        found = f"found: {', '.join(names)}"
        fix = f"name one of them: {self.path}:{names[0]}"
        if self.name is None:
            return InvalidNameError(
                f"{file} holds {len(names)} networks", notes=(found,), fix=fix
            )
        return InvalidNameError(f"{file} holds no network {self.name}", notes=(found,), fix=fix)

    def _run(self) -> ModuleType:
        path = self.path.resolve()
        module = ModuleType(f"gradwright_model_{path.stem}")
        module.__file__ = str(path)
        code = self._compiled(path)
        # As for any script: files beside it can be imported, and dataclasses find their module.
        sys.path.insert(0, str(path.parent))
        sys.modules[module.__name__] = module
        try:
            exec(code, vars(module))
        except SystemExit as error:
            raise ModelFileError(
                f"{path.name} ended the program (exit code {error.code})",
                at=_deepest(error, path),
                fix='put what is not a definition under if __name__ == "__main__":',
            ) from None
        return module

    def _compiled(self, path: Path) -> CodeType:
        try:
            return compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except OSError as error:
            raise ModelFileError(
                f"{self.path} cannot be read: {error.strerror or error}",
                fix="give the path of a Python file, with :NAME behind it if it holds several",
            ) from None
        except SyntaxError as error:
            at = Origin(str(path), error.lineno or 1, (error.text or "").strip())
            raise ModelFileError(f"{path.name} is not valid Python: {error.msg}", at=at) from None
        except ValueError as error:
            raise ModelFileError(f"{path.name} is not valid Python: {error}") from None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Report an exception that passed through the file with the file's own line."""
        try:
            yield
        except GradwrightError:
            raise
        except Exception as error:
            at = _deepest(error, self.path.resolve())
            if at is None:
                raise
            inner = traceback.extract_tb(error.__traceback__)[-1]
            where = Origin(inner.filename, inner.lineno or 0).short
            raised = (f"raised at {where}",) if where != at.short else ()
            notes = raised + _taken(error)
            raise ModelFileError(
                f"{type(error).__name__}: {error}", at=at, notes=notes
            ) from error


def _taken(error: Exception) -> tuple[str, ...]:
    """What the function of ours takes that a call did not fit."""
    called = re.match(r"(\w+)\(\) ", str(error)) if isinstance(error, TypeError) else None
    function = getattr(gw, called[1], None) if called else None
    if called is None or not inspect.isfunction(function):
        return ()
    taken = inspect.signature(function).parameters.values()
    arguments = ", ".join(str(p.replace(annotation=p.empty)) for p in taken)
    return (f"gw.{called[1]} takes ({arguments})",)


def _deepest(error: BaseException, path: Path) -> Origin | None:
    """The last line of the user's file that the exception passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if frame.filename == str(path)]
    if not mine:
        return None
    return Origin(str(path), mine[-1].lineno or 0, (mine[-1].line or "").strip())
