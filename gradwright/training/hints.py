"""Hints about how a run goes, each with the figure behind it: it diverges, saturates, overfits.

    for hint in hints(history): print(hint.text)

The limits are rules of thumb and stand here as constants. A hint never stops a run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradwright.training.history import Measured, total_norm

ROSE = 1.2
"""A loss this much above its lowest has risen."""
STUCK = 0.01
"""A loss that fell by less than this share over the whole run has not moved."""
STILL_FALLING = 0.05
STEADY = 0.5
"""A last epoch that gained this share of the mean epoch's gain: the run is at its beginning."""
VANISHED = 1e-7
"""Norm of the gradient against that of the parameters, below which nothing moves in float32."""
DEAD = 0.5
LEARNT = 0.95


@dataclass(frozen=True, slots=True)
class Hint:
    """`kind` is said once a run; `text` holds the figures and what to try."""

    kind: str
    text: str


def hints(history: Sequence[Measured]) -> list[Hint]:
    """What the epochs so far show, the gravest first."""
    found = [check(history) for check in CHECKS] if history else []
    return [hint for hint in found if hint is not None]


def last_words(history: Sequence[Measured]) -> list[Hint]:
    """What can only be said at the end of a run: whether it ended too early."""
    if len(history) < 2 or hints(history):
        return []
    before, last = history[-2].loss, history[-1].loss
    learnt = (history[-1].train_accuracy or 0) > LEARNT
    fell, mean = before - last, (history[0].loss - last) / (len(history) - 1)
    if learnt or not 0 < last < before:
        return []
    if last < (1 - STILL_FALLING) * before:
        text = f"the loss still fell by {100 * fell / before:.0f} % in the last epoch"
    elif len(history) > 2 and fell > STEADY * mean:
        text = f"the loss fell by {fell:.2g} in the last epoch, by {mean:.2g} in the mean epoch"
    else:
        return []
    return [Hint("underfit", f"{text}: try more --epochs, or a higher --lr")]


def diverging(history: Sequence[Measured]) -> Hint | None:
    """The training loss is well above its lowest."""
    best, last = min(history, key=lambda m: m.loss), history[-1]
    if not (best.loss > 0 and last.loss > ROSE * best.loss):
        return None
    rose = f"from {best.loss:.4g} (epoch {best.epoch}) to {last.loss:.4g} (epoch {last.epoch})"
    return Hint("diverges", f"the training loss rose {rose}: lower --lr (now {last.lr:g})")


def saturated(history: Sequence[Measured]) -> Hint | None:
    """The gradient is as good as zero, though there is something left to learn."""
    last = history[-1]
    gradient, parameters = total_norm(last.gradient_norm), total_norm(last.parameter_norm)
    if gradient > VANISHED * parameters or (last.train_accuracy or 0) > LEARNT:
        return None
    norms = f"the gradient's norm is {gradient:.2g}, that of the parameters {parameters:.2g}"
    return Hint("saturates", f"{norms}: the units are saturated; lower --lr, or start smaller")


def dead(history: Sequence[Measured]) -> Hint | None:
    """Most units of a layer pass nothing on."""
    shares = history[-1].zero_gradients
    worst = max(shares, key=lambda name: shares[name], default=None)
    if worst is None or shares[worst] < DEAD:
        return None
    text = f"{100 * shares[worst]:.0f} % of {worst} has a gradient of exactly 0 (dead relus)"
    return Hint("dead", f"{text}: lower --lr (now {history[-1].lr:g}), or start smaller")


def stuck(history: Sequence[Measured]) -> Hint | None:
    """The loss does not move at all."""
    first, last = history[0], history[-1]
    if len(history) < 3 or abs(last.loss - first.loss) > STUCK * abs(first.loss):
        return None
    if (last.train_accuracy or 0) > LEARNT:
        return None
    moved = f"{first.loss:.4g} (epoch {first.epoch}), {last.loss:.4g} (epoch {last.epoch})"
    text = f"the training loss hardly moved: {moved}"
    return Hint("stuck", f"{text}; try another --lr than {last.lr:g}")


def overfitting(history: Sequence[Measured]) -> Hint | None:
    """The test loss has risen from its lowest while the training loss went on falling."""
    best, last = min(history, key=lambda m: m.test_loss), history[-1]
    if not (best.test_loss > 0 and last.test_loss > ROSE * best.test_loss):
        return None
    if last.train_loss >= best.train_loss:
        return None
    rose = f"from {best.test_loss:.4g} (epoch {best.epoch}) to {last.test_loss:.4g}"
    fell = f"from {best.train_loss:.4g} to {last.train_loss:.4g}"
    text = f"the test loss rose {rose} while the training loss fell {fell}: it overfits"
    return Hint("overfits", f"{text}; stop earlier (--patience 3), or add gw.dropout")


CHECKS: tuple[Callable[[Sequence[Measured]], Hint | None], ...] = (
    diverging,
    saturated,
    dead,
    stuck,
    overfitting,
)
