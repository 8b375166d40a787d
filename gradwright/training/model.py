"""The public face of a generated module, as a type: all that training knows of a model.

Both targets, NumPy and C, give exactly this. Nothing here runs.
"""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Declared = tuple[tuple[int | str, ...], str]
"""Shape, with the batch size as its name, and dtype: `(("batch", 784), "float32")`."""


class CompiledModel(Protocol):
    """A module emitted by `gw.compile`: constants in capitals, then the functions."""

    NAME: str
    TARGET: str
    DTYPE: str
    MODEL_HASH: str
    MAX_BATCH: int
    PARAM_SHAPES: dict[str, tuple[int, ...]]
    GRADIENT_NAMES: tuple[str, ...]
    INPUTS: dict[str, Declared]
    OUTPUTS: dict[str, Declared]
    LOSS: str | None
    STATE_SHAPES: dict[str, tuple[int, ...]]
    HYPERPARAMETERS: dict[str, float]
    INDEX_LIMITS: dict[str, int]
    WORKSPACE_BYTES: int
    FLOPS_PER_STEP: int

    def init_params(self, seed: int = 0) -> Arrays: ...
    def init_state(self, params: Arrays, seed: int = 0) -> Arrays: ...
    def forward(self, params: Arrays, *inputs: NDArray[Any]) -> Any: ...
    def value_and_grad(self, params: Arrays, *inputs: NDArray[Any]) -> tuple[float, Arrays]: ...
    def train_step(
        self, params: Arrays, state: Arrays, *inputs: NDArray[Any], **hyper: float
    ) -> float: ...
    def train_epoch(
        self,
        params: Arrays,
        state: Arrays,
        *inputs: NDArray[Any],
        batch: int | None = None,
        **hyper: float,
    ) -> NDArray[Any]: ...
