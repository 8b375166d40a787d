"""Teams of threads under GCC's thread sanitizer: no race with the waits, races without them.

    python -m tests.torture.team_races                  about half an hour on one core
    python -m tests.torture.team_races --only lenet5    specimens whose name has that in it

The sanitizer does not see into the library of OpenMP and would cry at every wait. So the emitted
source is changed before it is built: its parallel region becomes a function (GCC's nested one) that
POSIX threads run, and its waits are a POSIX barrier. Kernels and the places of the waits stay.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from codegen.c import assemble
from tests.targets.drive import Drive, program, run
from tests.targets.specimens import SPECIMENS

THREADS = 3
BATCH = 7  # a wait for uneven batches is needed
TEAM = """
#include <pthread.h>
#include <stddef.h>
static pthread_barrier_t gw_all;
struct gw_work { void (*region)(ptrdiff_t, ptrdiff_t); ptrdiff_t thread, threads; };
static void *gw_begin(void *given)
{
    struct gw_work *const work = given;
    work->region(work->thread, work->threads);
    return NULL;
}
static void gw_together(void (*region)(ptrdiff_t, ptrdiff_t), ptrdiff_t threads)
{
    pthread_t made[16];
    struct gw_work work[16];
    pthread_barrier_init(&gw_all, NULL, (unsigned)threads);
    for (ptrdiff_t i = 0; i < threads; i++) {
        work[i] = (struct gw_work){region, i, threads};
        pthread_create(&made[i], NULL, gw_begin, &work[i]);
    }
    for (ptrdiff_t i = 0; i < threads; i++) {
        pthread_join(made[i], NULL);
    }
    pthread_barrier_destroy(&gw_all);
}
"""
REGION = re.compile(
    r"#if defined\(_OPENMP\)\n#pragma omp parallel num_threads\(([^\n]*)\)\n#endif\n"
    r"    \{\n        const gw_team team = gw_this_thread\(\);\n(.*?)\n    \}\n",
    re.DOTALL,
)


def posix(source: str, *, wait: bool) -> str:
    """The source with threads of POSIX; without waits, if so asked."""
    waits = "pthread_barrier_wait(&gw_all);" if wait else ""
    changed, count = REGION.subn(
        r"    void gw_region(ptrdiff_t thread, ptrdiff_t threads)\n    {\n"
        r"        const gw_team team = {thread, threads};\n\2\n    }\n"
        r"    gw_together(gw_region, \1);\n",
        source,
    )
    assert count, "no parallel region"
    changed = re.sub(r"(?m)^#define GW_WAIT$", f"#define GW_WAIT {waits}", changed)
    return TEAM + re.sub(r"static inline gw_team gw_this_thread.*?\n}\n", "", changed, flags=re.S)


def raced(drive: Drive, *, wait: bool = True) -> bytes:
    """What the program says under the sanitizer; AssertionError with the first race."""
    source = drive.folder / f"{drive.name}.c"
    kept = source.read_text(encoding="utf-8")
    source.write_text(posix(kept, wait=wait), encoding="utf-8")
    try:
        flags = ["-O1", "-g", "-mavx2", "-fsanitize=thread", "-pthread", "-D_GNU_SOURCE"]
        flags += ["-z", "execstack"]  # what a nested function needs
        return run(program([drive], ["gcc", *flags]))
    finally:
        source.write_text(kept, encoding="utf-8")


def complaint(drive: Drive) -> str:
    """An empty text, or what was wrong."""
    try:
        same = raced(drive) == run(program([drive], ["gcc", "-O1", "-mavx2"]))
    except AssertionError as error:
        return str(error)
    return "" if same else "other bits than one thread"


def races_without(drive: Drive) -> bool:
    """Whether the sanitizer finds a race where nobody waits."""
    try:
        raced(drive, wait=False)
    except AssertionError as error:
        return "data race" in str(error)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default="", help="a part of the specimens' names")
    options = parser.parse_args()
    assemble.WORTH_A_TEAM = 0
    wrong = found = 0
    print(f"| {THREADS} threads, batch {BATCH} | races | without its waits |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as base:
        for number, specimen in enumerate(s for s in SPECIMENS if options.only in s.id):
            drive = Drive(specimen.module(threads=THREADS, batch=BATCH), Path(base) / str(number))
            said = complaint(drive)
            wrong += bool(said)
            found += (without := races_without(drive))
            text = said.replace("|", "/").replace("\n", " ")[:1000] or "none"
            print(f"| {specimen.id} | {text} | {'races' if without else 'none'} |", flush=True)
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main())
