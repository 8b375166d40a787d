"""The C target: a scheduled module in, the texts of NAME.c, NAME.h and NAME_c.py out.

    files = emit(module, loop_nest)          # {"mnist_mlp.c": ..., "mnist_mlp.h": ..., ...}

`loop_nest` makes a nest of a kernel (compiler/schedule.py); the driver passes it in, because
codegen does not know the compiler. Nothing here reads a clock, a path or an order of hashing.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from codegen.c.assemble import make_view
from codegen.c.portable import refuse
from codegen.render import render
from ir.kernel import Kernel, Module
from ir.loops import Nest, Rotation
from ir.program import Program

LoopNest = Callable[[Kernel, Program, int], Nest]
BUILD_ID = "@build_id@"  # where the templates leave a place for it


def emit(
    module: Module, loop_nest: LoopNest, rotation: Rotation | None = None
) -> dict[str, str]:
    """The three files of a module, by name.

    With a rotation (compiler/rotation.py), the steps of an epoch run into one another. The loader
    takes a library only if it was built from this C: both hold a digest of the two C files.
    """
    if module.portable:
        refuse(module)
    view = make_view(module, loop_nest, rotation)
    source = render("c", "module.c.jinja", view)
    header = render("c", "module.h.jinja", view)
    loader = render("c", "loader.py.jinja", view)
    build_id = sha256(f"{source}{header}".encode()).hexdigest()[:32]
    return {
        f"{module.name}.c": source.replace(BUILD_ID, build_id),
        f"{module.name}.h": header,
        f"{module.name}_c.py": loader.replace(BUILD_ID, build_id),
    }
