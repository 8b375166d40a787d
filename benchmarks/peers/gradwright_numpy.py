"""Our NumPy target, one call a step. Its threads are those of NumPy's BLAS."""

from __future__ import annotations

from benchmarks.cases import Case, Given
from benchmarks.peers.gradwright_c import Forwards, Steps, compiled


def prepare(case: Case, given: Given, threads: int) -> Steps | Forwards:
    module = compiled(case, "numpy")
    return Forwards(module, given) if case.kind == "forward" else Steps(module, given)
