"""The worst errors of the emitted exp, log, tanh, erf and pow, in units in the last place.

    python benchmarks/math_error.py                    every float, 2**32 of them; some minutes
    python benchmarks/math_error.py --step 4099        every 4,099th float
    python benchmarks/math_error.py --double 10000000  so many doubles

Floats are compared with libm's double functions, doubles with libm's long double ones (which have
64 bits on x86-64: run the doubles there). An ulp is the distance of floating-point numbers at the
exact value; where that rounds to infinity or is not a number, the result must be the same. Each
function is built with the flags of the fast build, where products and sums fuse, and of the
portable build, where they do not. The last column is the time of libm's function over an array
divided by ours. tests/test_c_math.py runs a sample of this.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from codegen.c.assemble import FAST_FLAGS, PORTABLE_FLAGS
from codegen.c.scalars import MATHEMATICS, needed
from codegen.render import render

BUILDS = {"fast": FAST_FLAGS, "portable": PORTABLE_FLAGS}

PROGRAM = r"""
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
%(functions)s
#define CHUNK 4096
typedef %(real)s real;
typedef %(wide)s wide;
typedef %(bits)s word;

static real value_of(uint64_t i)
{
    word bits = (word)i;
    real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t mixed(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Half of the sampled doubles have any bits; half lie where the functions are not constant. */
static real sample(uint64_t i)
{
    const uint64_t h = mixed(i * UINT64_C(0x9e3779b97f4a7c15));
    const real unit = (real)(h >> 11) * (real)0x1p-53 - (real)0.5;
    return i %% 2 ? value_of(h) : unit * (real)(h %% 7 ? 16 : 1500);
}

static double error(real got, wide y)
{
    const real rounded = (real)y;
    if (isnan(rounded) || isinf(rounded) || isnan(got)) {
        return (isnan(got) && isnan(rounded)) || got == rounded ? 0 : INFINITY;
    }
    if (isinf(got) || signbit(got) != signbit(rounded)) {
        return INFINITY;
    }
    int e;
    (void)%(frexp)s(y, &e);
    const int last = e - %(digits)d > %(least)d ? e - %(digits)d : %(least)d;
    return (double)%(ldexp)s(%(fabs)s((wide)got - y), -last);
}

void ours(const real *x, real *y, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        y[i] = %(call)s(%(arguments)s);
    }
}

void theirs(const real *x, real *y, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        y[i] = %(libm)s(%(arguments)s);
    }
}

/* Input i is the float whose bits are i*step, or with step 0 the sample i. */
double worst(uint64_t first, uint64_t count, uint64_t step, double *where)
{
    static real x[CHUNK], y[CHUNK];
    double most = 0;
    for (uint64_t done = 0; done < count; done += CHUNK) {
        const int64_t now = (int64_t)(count - done < CHUNK ? count - done : CHUNK);
        for (int64_t i = 0; i < now; i++) {
            const uint64_t n = first + done + (uint64_t)i;
            x[i] = step ? value_of(n * step) : sample(n);
        }
        ours(x, y, now);
        for (int64_t i = 0; i < now; i++) {
            const wide exact = %(reference)s;
            if (y[i] == (real)exact && most >= 0.5) {
                continue; /* Correctly rounded: at most half an ulp. */
            }
            const double found = error(y[i], exact);
            if (found > most) {
                most = found;
                *where = (double)x[i];
            }
        }
    }
    return most;
}
"""

TYPES = {
    "float32": {
        "real": "float", "wide": "double", "bits": "uint32_t", "f": "f", "w": "",
        "frexp": "frexp", "ldexp": "ldexp", "fabs": "fabs", "digits": 24, "least": -149,
    },
    "float64": {
        "real": "double", "wide": "long double", "bits": "uint64_t", "f": "", "w": "l",
        "frexp": "frexpl", "ldexp": "ldexpl", "fabs": "fabsl", "digits": 53, "least": -1074,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Built:
    """One function compiled for a measurement."""

    library: ctypes.CDLL

    def worst(self, first: int, count: int, step: int) -> tuple[float, float]:
        """The largest error among the inputs, and the input that has it."""
        where = ctypes.c_double()
        call = self.library.worst
        call.restype = ctypes.c_double
        call.argtypes = [ctypes.c_uint64] * 3 + [ctypes.POINTER(ctypes.c_double)]
        return call(first, count, step, ctypes.byref(where)), where.value


def program(name: str, dtype: str) -> str:
    """The C source that measures one function."""
    kind = TYPES[dtype]
    helpers = SimpleNamespace(helpers=needed(name, dtype))
    second = ", x[i] < 0 ? -x[i] : 1 + x[i]" if name == "pow" else ""
    wide = f"{kind['wide']}"
    return PROGRAM % {
        **kind,
        "functions": render("c", "math.c.jinja", helpers),
        "call": f"gw_{name}{kind['f']}",
        "libm": f"{name}{kind['f']}",
        "arguments": "x[i]" + second,
        "reference": f"{name}{kind['w']}(({wide})x[i]{second})",
    }


def build(name: str, dtype: str, flags: str, compiler: str, folder: Path) -> Built:
    """The measurement of one function, compiled with some flags."""
    source = folder / f"{name}_{dtype}.c"
    source.write_text(program(name, dtype), encoding="utf-8")
    library = Path(tempfile.mkdtemp(dir=folder)) / "measured.so"
    command = [compiler, "-std=c99", *flags.split(), "-shared", "-fPIC", str(source)]
    subprocess.run([*command, "-o", str(library), "-lm"], check=True)
    return Built(ctypes.CDLL(str(library)))


def speed(built: Built, dtype: str) -> float:
    """How many times faster than libm ours is over 65,536 numbers from -4 to 4: least of many."""
    x = np.abs(np.linspace(-4, 4, 65536).astype(dtype))
    y = np.empty_like(x)
    best = {"ours": np.inf, "theirs": np.inf}
    for _ in range(60):
        for which in best:
            start = time.perf_counter()
            call = getattr(built.library, which)
            call(
                ctypes.c_void_p(x.ctypes.data),
                ctypes.c_void_p(y.ctypes.data),
                ctypes.c_int64(65536),
            )
            best[which] = min(best[which], time.perf_counter() - start)
    return best["theirs"] / best["ours"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--step", type=int, default=1, help="every so many-th float")
    parser.add_argument("--double", type=int, default=10_000_000, help="how many doubles")
    parser.add_argument("--compiler", default="gcc")
    parser.add_argument("--only", default="", help="names of functions, with commas")
    options = parser.parse_args()
    print("| function | type | build | inputs | worst ulp | at | libm's time / ours |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only.split(",") if options.only else MATHEMATICS:
            for dtype in TYPES:
                step = options.step if dtype == "float32" else 0
                count = -(-(2**32) // step) if step else options.double
                for said, flags in BUILDS.items():
                    built = build(name, dtype, flags, options.compiler, Path(folder))
                    most, where = built.worst(0, count, step)
                    print(
                        f"| {name} | {dtype} | {said} | {count:,} | {most:.3f} "
                        f"| {where!r} | {speed(built, dtype):.1f} |",
                        flush=True,
                    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
