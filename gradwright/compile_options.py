"""The options that `compile`, `train` and `bench` share, with their defaults in one place.

model = CompileOptions.said(target="numpy", batch=None).compile(network, Path("generated"))
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gradwright as gw
from gradwright.training.model import CompiledModel

PLAIN_RATES = {"sgd": 0.1, "momentum": 0.1}


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """`dtype` None keeps the network's own floating type, `lr` None takes the optimizer's."""

    target: Literal["c", "numpy"] = "c"
    batch: int = 128
    dtype: str | None = None
    optimizer: str = "sgd"
    lr: float | None = None
    threads: int = 1
    portable: bool = False

    @classmethod
    def said(cls, **options: Any) -> CompileOptions:
        """The defaults, with those options that were said (are not None) in their place."""
        return cls(**{name: value for name, value in options.items() if value is not None})

    def rule(self) -> gw.Optimizer:
        """The optimizer; plain descent, which has no rate of its own, takes 0.1."""
        rate = PLAIN_RATES.get(self.optimizer) if self.lr is None else self.lr
        return gw.optimizer(self.optimizer, **({} if rate is None else {"lr": rate}))

    @property
    def rate(self) -> float:
        """The learning rate that is compiled in."""
        return dict(self.rule().hyper)["lr"]

    def compile(self, network: gw.Network, out: Path) -> CompiledModel:
        """The generated module; its source is written into `out`. Raises `GradwrightError`."""
        return gw.compile(
            network,
            target=self.target,
            batch=self.batch,
            dtype=self.dtype,
            optimizer=self.rule(),
            out=out,
            threads=self.threads,
            portable=self.portable,
        )
