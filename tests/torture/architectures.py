"""The emitted C on other processors, under qemu-user: one table.

    python -m tests.torture.architectures               about half an hour
    python -m tests.torture.architectures --only lstm   specimens whose name has that in it

Forward, backward, 100 training steps and an epoch of every specimen, at small batches. The
portable build must say the same bits as x86-64 (a digest of every result). The fast build must
agree within BOUND of the largest value of its kind: contractions use the vectors and the fused
multiply-adds that a machine has, so sums round differently. Its updates are compared after one
step, and are plain descent where its optimizer is adaptive: AdamW divides a gradient that is zero
but for rounding, as that of the keys' bias in attention, by its own size.

Needs gcc for each of TARGETS and qemu-user (Debian's gcc-aarch64-linux-gnu and the like); what is
missing counts as failed. Exit code 1 if anything failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import gradwright as gw
from codegen.c.assemble import FAST_FLAGS, PORTABLE_FLAGS
from tests.targets.drive import Drive, digest, program, run
from tests.targets.specimens import SPECIMENS, Specimen
from tests.torture.emitted_c import complaint

BOUND = {"float32": 2e-5, "float64": 4e-14}
ORDERS = {"s390x-linux-gnu": ">"}
TARGETS = {
    "aarch64-linux-gnu": "qemu-aarch64",
    "arm-linux-gnueabihf": "qemu-arm",
    "riscv64-linux-gnu": "qemu-riscv64",
    "s390x-linux-gnu": "qemu-s390x",
}
EXTRA = {  # gcc 12 computes floats as doubles on s390x unless it is told
    "s390x-linux-gnu": ["-fexcess-precision=fast"],
    "arm-linux-gnueabihf": ["-mfpu=neon-vfpv4"],
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What builds programs for an architecture, and what runs them here."""

    name: str = "x86_64"
    command: tuple[str, ...] = ("gcc",)
    emulator: tuple[str, ...] = ()
    order: str = "<"


HERE = Machine()


def machines() -> list[Machine]:
    return [
        Machine(
            triple.split("-")[0],
            (f"{triple}-gcc", "-static", *EXTRA.get(triple, [])),
            (emulator,),
            ORDERS.get(triple, "<"),
        )
        for triple, emulator in TARGETS.items()
    ]


def said(drive: Drive, machine: Machine, flags: str, steps: int) -> dict[str, np.ndarray]:
    """Every result of the drive, built for a machine."""
    kept = [f for f in flags.split() if f != "-march=native"]
    made = program([drive], [*machine.command, *kept, f"-DSTEPS={steps}"])
    return drive.results(run(made, machine.emulator), machine.order)


def errors(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> dict[str, float]:
    """By kind of result, the largest difference in parts of the kind's largest value.

    A kind is `grads(3)` and not `grads(3).fc1.b`: a gradient that is zero but for rounding, as
    that of a bias before a normalisation, has no scale of its own.
    """
    kinds: dict[str, float] = {}
    for kind in {name.split(".")[0] for name in expected}:
        names = [n for n in expected if n.split(".")[0] == kind]
        scale = max(float(np.abs(expected[n]).max()) for n in names)
        apart = max(float(np.abs(found[n] - expected[n]).max()) for n in names)
        kinds[kind] = apart / scale if scale else apart
    return kinds


def descending(specimen: Specimen) -> Specimen:
    """The specimen, with plain descent in place of an optimizer that is adaptive."""
    kept = specimen.optimizer is None or specimen.optimizer.name in ("sgd", "momentum")
    return specimen if kept else replace(specimen, optimizer=gw.sgd(lr=0.01))


def compare(specimen_id: str, dtype: str, machine: Machine, folder: Path) -> list[str]:
    """Complaints; prints the rows of both builds."""
    specimen = next(s for s in SPECIMENS if s.id == specimen_id)
    complaints: list[str] = []
    row = f"| {specimen_id} | {dtype} | {machine.name}"

    def portable() -> None:
        drive = Drive(specimen.module(dtype=dtype, portable=True), folder / "portable")
        expected, found = (digest(said(drive, m, PORTABLE_FLAGS, 100)) for m in (HERE, machine))
        print(f"{row} | portable | {found} | {'as' if found == expected else 'NOT as'} x86_64 |")
        assert found == expected, f"portable bits: {found}, on x86_64 {expected}"

    def fast() -> None:
        drive = Drive(descending(specimen).module(dtype=dtype), folder / "fast")
        worst = errors(*(said(drive, m, FAST_FLAGS, 1) for m in (machine, HERE)))
        kind = max(worst, key=lambda k: worst[k])
        print(f"{row} | fast | {worst[kind]:.1e} in {kind} | at most {BOUND[dtype]:.0e} |")
        assert worst[kind] <= BOUND[dtype], f"fast: {worst}"

    for check in (portable, fast):
        text = complaint(check)
        complaints += [f"{row[2:]}: {text}"] if text else []
    sys.stdout.flush()
    return complaints


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default="", help="a part of the specimens' names")
    options = parser.parse_args()
    wrong: list[str] = []
    print("| network | type | machine | build | result | bound |\n|---|---|---|---|---|---|")
    chosen = [s for s in SPECIMENS if options.only in s.id]
    with tempfile.TemporaryDirectory() as base:
        for number, specimen in enumerate(chosen):
            for dtype in BOUND:
                for machine in machines():
                    folder = Path(base) / f"{number}-{dtype}"
                    wrong += compare(specimen.id, dtype, machine, folder)
    print("\n".join(["", *wrong]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
