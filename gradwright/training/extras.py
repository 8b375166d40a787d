"""Optional libraries: imported when they are asked for, and a clear error when they are not there.

    plots = extra("matplotlib.figure", "report")        # the module, or MissingLibraryError

The second name is the extra of `pip install 'gradwright[report]'` that brings the library.
"""

from __future__ import annotations

import importlib
from typing import Any

from ir.errors import GradwrightError


class MissingLibraryError(GradwrightError):
    """An option needs a library that is not installed."""


def extra(module: str, name: str) -> Any:
    """The module. Raises `MissingLibraryError` with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise MissingLibraryError(
            f"{library} cannot be imported",
            notes=(f"found: {error}",),
            fix=f"pip install 'gradwright[{name}]'",
        ) from None
