"""One Jinja2 environment for every template: strict, and silent about whitespace.

    text = render("c", "module.c.jinja", view)

A template sees one frozen dataclass of strings and sequences of them (a view) and uses only for,
if, include and macros: every decision was made before it. A name that the view lacks is an error.

Jinja2 makes Python of a template, which takes as long as the rest of a small network's way. What it
made lies in `__pycache__` beside the templates, as Python's own bytecode does. Where that cannot be
written, each process makes it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import sys
import tempfile
from functools import cache
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined, compiler
from jinja2.bccache import Bucket


class Beside(BytecodeCache):
    """Templates as bytecode, each in a file under the `__pycache__` of the template's folder.

    A file is two digests and the bytecode: of all that it was made from, and of itself, so that it
    is found again only for the same text, Python and Jinja2, and only when it is whole.
    """

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """The file: `contraction.c.jinja` is `__pycache__/contraction.c.cpython-311.pyc`."""
        return cache_from_source(filename or name)

    def get_source_checksum(self, source: str) -> str:
        """Of the template, of Python, and of Jinja2: when its compiler was last changed."""
        jinja = Path(compiler.__file__).stat()
        made_from = f"{MAGIC_NUMBER.hex()} {jinja.st_size} {jinja.st_mtime_ns} {source}"
        return _digest(made_from.encode())

    def load_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(OSError):
            found = Path(bucket.key).read_bytes()
            size = len(bucket.checksum)
            made_from, whole, code = found[:size], found[size : 2 * size], found[2 * size :]
            if made_from == bucket.checksum.encode() and whole == _digest(code).encode():
                bucket.code = marshal.loads(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        if not sys.dont_write_bytecode:
            code = marshal.dumps(bucket.code)
            with contextlib.suppress(OSError):
                _write(Path(bucket.key), f"{bucket.checksum}{_digest(code)}".encode() + code)


def _digest(of: bytes) -> str:
    return hashlib.sha256(of).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """A file written whole or not at all, whoever else writes it now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(part).replace(path)
    except OSError:
        Path(part).unlink()
        raise


@cache
def environment(target: str) -> Environment:
    """The templates of `codegen/<target>/`."""
    return Environment(
        loader=PackageLoader("codegen", target),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        bytecode_cache=Beside(),
    )


def render(target: str, template: str, view: object) -> str:
    """The template's text for a view, which it sees as `m`."""
    return environment(target).get_template(template).render(m=view)
