"""The portable build trains to the same bits everywhere: parameters after 100 steps, as one digest.

    python benchmarks/portable_bits.py             every compiler and architecture that is there
    python benchmarks/portable_bits.py --native    this machine's compilers alone

Two networks are emitted with `portable=True` and trained by a small C program on made-up data: the
perceptron 784-100-200-10 under plain descent, and a network with layer_norm, gelu, tanh, dropout
and cross-entropy under Adam, in float32 and float64. Each is built by gcc and clang at -O0 to -O3,
with and without -march=native, and for other architectures by cross compilers, run under qemu-user
(Debian's packages gcc-aarch64-linux-gnu and the like).
Exit code 1 if two digests of a model differ. tests/test_portable.py runs a part of this.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import gradwright as gw
from codegen.c.assemble import PORTABLE_FLAGS

STEPS, ROWS, CLASSES = 100, 16, 5
STATIC = ("-static", "-fexcess-precision=fast")  # gcc 12 computes floats as doubles on s390x
LEVELS = ("-O0", "-O1", "-O2", "-O3")


@gw.network
def perceptron(x: gw.f32["batch", 784], label: gw.i32["batch"]):
    h = gw.relu(gw.dense(x, 100, name="fc1"))
    h = gw.relu(gw.dense(h, 200, name="fc2"))
    return gw.outputs(loss=gw.cross_entropy(gw.dense(h, 10, name="fc3"), label))


@gw.network
def mixed(x: gw.f32["batch", 24], label: gw.i32["batch"]):
    h = gw.gelu(gw.layer_norm(gw.dense(x, 40, name="first"), name="norm"))
    h = gw.dropout(gw.tanh(gw.dense(h, 30, name="second")), 0.1)
    return gw.outputs(loss=gw.cross_entropy(gw.dense(h, 5, name="third"), label))


MODELS = {"perceptron": (perceptron, gw.sgd(lr=0.1)), "mixed": (mixed, gw.adam(lr=0.01))}


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler with its flags, and what runs its programs."""

    name: str
    command: tuple[str, ...]
    emulator: tuple[str, ...] = ()


def native() -> list[Toolchain]:
    """gcc and clang, each at every level, for any x86-64 or arm and for this very machine."""
    return [
        Toolchain(f"{c} {level}{machine}", (c, level, *machine.split()))
        for c in ("gcc", "clang")
        if shutil.which(c)
        for level in LEVELS
        for machine in ("", " -march=native")
    ]


def crossed() -> list[Toolchain]:
    """Cross compilers whose programs an emulator can run, without and with optimisation."""
    targets = (
        ("aarch64-linux-gnu", "qemu-aarch64"),
        ("arm-linux-gnueabihf", "qemu-arm"),
        ("riscv64-linux-gnu", "qemu-riscv64"),
        ("s390x-linux-gnu", "qemu-s390x"),
    )
    return [
        Toolchain(f"{triple} {level}", (f"{triple}-gcc", level, *STATIC), (emulator,))
        for triple, emulator in targets
        if shutil.which(f"{triple}-gcc") and shutil.which(emulator)
        for level in ("-O0", "-O3")
    ]


def emitted(model: str, dtype: str, folder: Path) -> tuple[Path, Path]:
    """The model's source and a program that trains it, written into the folder."""
    network, optimizer = MODELS[model]
    files = gw.emit(
        network, target="c", batch=ROWS, dtype=dtype, optimizer=optimizer, portable=True
    )
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    program = folder / f"train_{model}.c"
    program.write_text(trainer(model, files[f"{model}.h"]), encoding="utf-8")
    return folder / f"{model}.c", program


def trainer(model: str, header: str) -> str:
    """A C program: 100 steps on made-up data, then the digest (FNV-1a, 64 bits) of the parameters.

    The digest reads each number as an integer, so that the order of bytes in memory does not count.
    """
    real = "float" if re.search(r"const float \*x", header) else "double"
    step = re.search(rf"int {model}_train_step\((.*?)\);", header, re.S)
    assert step is not None
    settings = re.findall(r"compiled in Python with (\S+)", step.group(1))
    inputs = re.findall(r"const \w+ \*(\w+), /\* \[rows\](?:\[(\d+)\])?", step.group(1))
    width = int(dict(inputs)["x"])
    lines, places = [], {}
    for kind in ("params", "state"):
        fields = re.search(rf"typedef struct {{([^}}]*)}} {model}_{kind};", header)
        places[kind] = [] if fields is None else _arrays(kind, fields.group(1), lines)
    words = {"float": "uint32_t", "double": "uint64_t"}[real]
    state = f"&({model}_state){{{', '.join(places['state'])}}}" if places["state"] else ""
    digests = "\n".join(f"    add({p}, sizeof {p} / sizeof *{p});" for p in places["params"])
    return f"""#include "{model}.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

{chr(10).join(lines)}
static {real} x[{ROWS} * {width}];
static int32_t label[{ROWS}];
static unsigned char workspace[{model.upper()}_WORKSPACE_BYTES];
static uint64_t digest = UINT64_C(0xcbf29ce484222325);

static void add(const {real} *from, size_t count)
{{
    for (size_t i = 0; i < count; i++) {{
        {words} word;
        memcpy(&word, from + i, sizeof word);
        for (size_t b = 0; b < sizeof word; b++) {{
            digest = (digest ^ (word >> 8 * b & 255)) * UINT64_C(0x100000001b3);
        }}
    }}
}}

int main(void)
{{
    const {model}_params params = {{{", ".join(places["params"])}}};
    {real} loss = 0;
    {model}_init_params(7, &params);
    {f"{model}_init_state({state});" if state else ""}
    for (uint32_t step = 0; step < {STEPS}; step++) {{
        for (uint32_t i = 0; i < {ROWS} * {width}; i++) {{
            x[i] = ({real})((i * 7919u + step * 104729u) % 1009u) / 1009 - ({real})0.5;
        }}
        for (uint32_t n = 0; n < {ROWS}; n++) {{
            label[n] = (int32_t)((n * 31u + step * 17u) % {CLASSES}u);
        }}
        if ({model}_train_step(&params,{f" {state}," if state else ""} x, label,
                {" ".join(f"{s}," for s in settings)} &loss, {ROWS}, workspace) != 0) {{
            return 1;
        }}
    }}
{digests}
    printf("%016" PRIx64 " %.9g\\n", digest, (double)loss);
    return 0;
}}
"""


def _arrays(prefix: str, fields: str, lines: list[str]) -> list[str]:
    """Static arrays for the fields of a struct; their names."""
    found = []
    for kind, name, shape in re.findall(r"(\w+) \*(\w+); /\* (\S+) \*/", fields):
        size = " * ".join(re.findall(r"\d+", shape)) or "1"
        lines.append(f"static {kind} {prefix}_{name}[{size}];")
        found.append(f"{prefix}_{name}")
    return found


def trained(source: Path, program: Path, toolchain: Toolchain) -> str:
    """What the program prints once built: the digest and the last loss."""
    made = source.with_suffix(".run")
    flags = [f for f in PORTABLE_FLAGS.split() if f != "-O3"]
    files = [str(source), str(program)]
    subprocess.run(
        [*toolchain.command, "-std=c99", *flags, *files, "-o", str(made), "-lm"], check=True
    )
    done = subprocess.run([*toolchain.emulator, str(made)], capture_output=True, text=True)
    return done.stdout.strip() or f"failed with code {done.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--native", action="store_true", help="no cross compilers")
    options = parser.parse_args()
    toolchains = native() + ([] if options.native else crossed())
    wrong = 0
    print("| model | type | compiler | digest and last loss |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            for dtype in ("float32", "float64"):
                source, program = emitted(model, dtype, Path(folder))
                said = {}
                for toolchain in toolchains:
                    said[toolchain.name] = trained(source, program, toolchain)
                    row = (model, dtype, toolchain.name, said[toolchain.name])
                    print(f"| {' | '.join(row)} |", flush=True)
                wrong += len(set(said.values())) != 1
    print(f"{wrong} of {2 * len(MODELS)} models differ between compilers or machines")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
