"""The emitted C in a program of its own: without Python, under sanitizers, in exact memory.

Without optimisation: no access is left out before a sanitizer sees it, and it takes a tenth of the
time. tests/torture/emitted_c.py asks sanitizers about optimised code.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ir.kernel import Module
from tests.targets.emitted_c import COMPILERS, warnings, write
from tests.targets.programs import CASES, Case, perceptron

ZONE = 4096

TRAIN = """
#include "perceptron.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP(rows) perceptron_train_step(&p, x, label, 0.1f, &loss, rows, memory)
#define EPOCH(n) perceptron_train_epoch(&p, x, label, 9, order, n, 4, 0.1f, losses, memory)

static float *room(size_t count) { return malloc(count * sizeof(float)); }

int main(void)
{
    perceptron_params p = {room(20 * 12), room(12), room(12 * 5), room(5)};
    perceptron_params g = {room(20 * 12), room(12), room(12 * 5), room(5)};
    perceptron_init_params(7, &p);
    float x[9 * 20], loss, logits[4 * 5];
    double losses[3];
    int32_t label[9];
    int64_t order[9];
    for (int i = 0; i < 9; i++) {
        order[i] = 8 - i;
        label[i] = i % 5;
        for (int k = 0; k < 20; k++) x[i * 20 + k] = (float)((i + 3) * (k + 1) % 7) - 3.0f;
    }
    const size_t size = PERCEPTRON_WORKSPACE_BYTES;
    unsigned char *const memory = malloc(size + 2 * ZONE + 1);
    for (int shift = 0; shift < 2; shift++) {
        unsigned char *const workspace = memory + ZONE + shift;
        memset(memory, 0xAB, size + 2 * ZONE + 1);
        for (ptrdiff_t rows = 1; rows <= 4; rows++) {
            if (perceptron_forward(&p, x, logits, rows, workspace)) return 1;
            if (perceptron_value_and_grad(&p, x, label, &loss, &g, rows, workspace)) return 2;
            if (perceptron_train_step(&p, x, label, 0.1f, &loss, rows, workspace)) return 3;
        }
        if (perceptron_train_epoch(&p, x, label, 9, order, 9, 4, 0.1f, losses, workspace)) return 4;
        for (size_t i = 0; i < ZONE; i++) {
            if (memory[i] != 0xAB || workspace[size + i - (size_t)shift] != 0xAB) return 5;
        }
    }
    if (STEP(0) != PERCEPTRON_BAD_ROWS || STEP(5) != PERCEPTRON_BAD_ROWS) return 6;
    label[1] = 5;
    if (STEP(2) != PERCEPTRON_BAD_INDEX || EPOCH(9) != PERCEPTRON_BAD_INDEX) return 7;
    order[3] = 9;
    if (EPOCH(9) != PERCEPTRON_BAD_ORDER || EPOCH(0) != PERCEPTRON_BAD_ORDER) return 8;
    printf("%.9g %.9g %s\\n", losses[0], losses[2], perceptron_error_text(PERCEPTRON_BAD_ROWS));
    float *all[] = {p.fc1_W, p.fc1_b, p.fc2_W, p.fc2_b, g.fc1_W, g.fc1_b, g.fc2_W, g.fc2_b};
    for (int i = 0; i < 8; i++) free(all[i]);
    free(memory);
    return 0;
}
"""


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("flags", [["-march=native"], ["-DGW_NO_VECTORS"], ["-mavx2"]], ids=str)
def test_a_training_program_under_sanitizers(
    compiler: str, flags: list[str], tmp_path: Path
) -> None:
    """Every row count, a workspace off its alignment, guard zones on both sides, the errors."""
    write(perceptron((20, 12, 5), 4, "float32"), tmp_path)
    (tmp_path / "main.c").write_text(TRAIN.replace("ZONE", str(ZONE)), encoding="utf-8")
    said = run(compiler, flags, tmp_path, ["perceptron.c", "main.c"])
    first, last, *words = said.split()
    assert 0 < float(last) < float(first) < 20
    assert " ".join(words) == "rows must be between 1 and 4"


def run(compiler: str, flags: list[str], folder: Path, sources: list[str]) -> str:
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
    command = [compiler, "-std=c99", "-O0", *flags, *sanitizers, *sources, "-o", "program", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    done = subprocess.run(["./program"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[:3000])
    return done.stdout


def driver(case: Case, module: Module) -> str:
    """A main that calls forward for every number of rows, each array in exact memory."""
    assert module.forward is not None
    program = module.forward.program
    arrays = [(t.name, t.shape, t.dtype) for t in program.inputs]
    arrays += [(public, program.shape_of(d), program.dtype_of(d)) for public, d in program.outputs]
    kinds = {"float32": "float", "float64": "double", "int32": "int32_t", "int64": "int64_t"}
    lines = [f'#include "{module.name}.h"', "#include <stdlib.h>", "#include <string.h>"]
    lines += ["int main(void)", "{"]
    lines += [f"    void *workspace = malloc({module.name.upper()}_WORKSPACE_BYTES);"]
    lines += ["    for (ptrdiff_t rows = 1; rows <= 7; rows++) {"]
    for name, shape, dtype in arrays:
        count = "*".join(
            ["(size_t)rows" if not isinstance(s, int) else str(s) for s in shape] or ["1"]
        )
        kind = kinds[dtype]
        lines += [f"        {kind} *{name} = malloc({count} * sizeof({kind}));"]
        lines += [f"        for (size_t i = 0; i < {count}; i++) {name}[i] = ({kind})(i % 3);"]
    names = ", ".join(name for name, _, _ in arrays)
    lines += [f"        {module.name}_params none;", "        memset(&none, 0, sizeof none);"]
    lines += [f"        if ({module.name}_forward(&none, {names}, rows, workspace)) return 1;"]
    lines += [f"        free({name});" for name, _, _ in arrays]
    return "\n".join([*lines, "    }", "    free(workspace);", "    return 0;", "}", ""])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_case_stays_in_its_arrays(case: Case, tmp_path: Path) -> None:
    module = case.module("float32")
    write(module, tmp_path)
    (tmp_path / "main.c").write_text(driver(case, module), encoding="utf-8")
    run("gcc", ["-mavx2"], tmp_path, [f"{module.name}.c", "main.c"])


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_header_by_itself(compiler: str, tmp_path: Path) -> None:
    write(perceptron((20, 12, 5), 4, "float32"), tmp_path)
    header = tmp_path / "only.c"
    header.write_text('#include "perceptron.h"\n#include "perceptron.h"\nextern int only;\n')
    subprocess.run([compiler, *warnings(compiler), "-fsyntax-only", str(header)], check=True)
