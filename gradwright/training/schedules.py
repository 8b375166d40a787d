"""Learning-rate schedules: functions from the number of steps taken to the rate of the next one.

    rate = warmup(cosine(0.1, steps=1000), steps=100)
    model.train_step(params, state, x, label, lr=rate(0))

On the command line a schedule is written in epochs, parts joined by `+`: `cosine`, `step:3:0.5`,
`warmup:1+cosine:0.001`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from ir.errors import InputError

Schedule: TypeAlias = Callable[[int], float]
_FORMS = ("constant", "step:EPOCHS[:FACTOR]", "cosine[:LOWEST]", "warmup:EPOCHS+…")


def constant(lr: float) -> Schedule:
    """The same rate always."""
    return lambda step: lr


def step_decay(lr: float, every: int, gamma: float = 0.1) -> Schedule:
    """lr * gamma**k after k times `every` steps, as torch.optim.lr_scheduler.StepLR."""
    _at_least_1("every", every)
    return lambda step: lr * gamma ** (step // every)


def cosine(lr: float, steps: int, lowest: float = 0.0) -> Schedule:
    """From lr down to `lowest` along half a cosine, then `lowest`: CosineAnnealingLR, ended."""
    _at_least_1("steps", steps)

    def rate(step: int) -> float:
        share = min(step / steps, 1.0)
        return lowest + (lr - lowest) * (1 + math.cos(math.pi * share)) / 2

    return rate


def warmup(schedule: Schedule, steps: int) -> Schedule:
    """Step k of the first `steps` takes (k + 1) / steps of the schedule's rate there."""
    _at_least_1("steps", steps)
    return lambda step: schedule(step) * min((step + 1) / steps, 1.0)


def named(text: str, lr: float, epochs: int, steps_per_epoch: int) -> Schedule:
    """A schedule as the command line says it, for a run of so many epochs. Raises InputError."""
    *before, main = text.split("+")
    made = _main(text, main, lr, epochs, steps_per_epoch)
    for part in before:
        kind, values = _parts(text, part)
        if kind != "warmup" or len(values) != 1:
            raise _unknown(text)
        made = warmup(made, _steps(text, values[0], steps_per_epoch))
    return made


def _main(text: str, part: str, lr: float, epochs: int, steps_per_epoch: int) -> Schedule:
    match _parts(text, part):
        case "constant", []:
            return constant(lr)
        case "warmup", [length]:
            return warmup(constant(lr), _steps(text, length, steps_per_epoch))
        case "cosine", [] | [_] as values:
            return cosine(lr, max(1, epochs * steps_per_epoch), *values)
        case "step", [every, *gamma] if len(gamma) <= 1:
            return step_decay(lr, _steps(text, every, steps_per_epoch), *gamma)
        case _:
            raise _unknown(text)


def _parts(text: str, part: str) -> tuple[str, list[float]]:
    kind, *values = part.split(":")
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        raise _unknown(text) from None
    if not all(math.isfinite(n) and n >= 0 for n in numbers):
        raise _unknown(text)
    return kind, numbers


def _steps(text: str, epochs: float, steps_per_epoch: int) -> int:
    if epochs <= 0:
        raise _unknown(text)
    return max(1, round(epochs * steps_per_epoch))


def _unknown(text: str) -> InputError:
    return InputError(f"no schedule {text!r}", notes=(f"there are {', '.join(_FORMS)}",))


def _at_least_1(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} must be at least 1, got {value!r}")
