"""Who takes part, and on how many threads.

A peer is a file of peers/. Those that run a whole epoch in one call are timed by the step as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cases import Case


@dataclass(frozen=True, slots=True)
class Contestant:
    """A peer on so many threads. `ours` are compared with the fastest of the others."""

    peer: str
    label: str
    threads: int = 1
    ours: bool = False

    @property
    def name(self) -> str:
        return self.label + (", 2 threads" if self.threads == 2 else "")


OURS = {
    "gradwright_c": "gradwright C",
    "gradwright_c_alone": "gradwright C, called from C",
    "gradwright_numpy": "gradwright NumPy",
}
PEERS = {
    "numpy_by_hand": "NumPy by hand",
    "numpy_out": "NumPy by hand, out=",
    "torch_eager": "PyTorch eager",
    "torch_compiled": "torch.compile",
    "jax_step": "JAX jit",
    "jax_scan": "JAX scan over the epoch",
    "pytensor_c": "PyTensor C",
    "tinygrad_cpu": "tinygrad CPU",
}


def contestants(case: Case, peers: frozenset[str] = frozenset()) -> list[Contestant]:
    """Everybody for a case, ours first; with two threads, each also on one."""
    found = []
    for threads in range(1, case.threads + 1):
        found += [Contestant(peer, label, threads, True) for peer, label in OURS.items()]
        found += [
            Contestant(peer, label, threads)
            for peer, label in PEERS.items()
            if not peers or peer in peers
        ]
    return sorted(found, key=lambda c: (not c.ours, c.threads * c.ours))
