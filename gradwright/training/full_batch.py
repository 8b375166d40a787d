"""Train with L-BFGS: every epoch is some full-batch steps, shown and saved as any other epoch.

    outcome = minimise(model, data, plan, reporter, save, start)      # --optimizer lbfgs

The memory of curvature begins anew with each epoch, so a checkpoint needs no more than the
parameters, and a resumed run gives the bits of an uninterrupted one. Rates and schedules have no
meaning here: the line search chooses each step's length. Ctrl-C is heard when an epoch ends.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np

from gradwright.training.batches import Rows
from gradwright.training.checkpoint import Position
from gradwright.training.diverged import blame
from gradwright.training.early_stopping import Patience
from gradwright.training.lbfgs import Minimised, lbfgs
from gradwright.training.loop import (
    DivergedError,
    EpochResult,
    Outcome,
    Plan,
    Reporter,
    Save,
    Start,
)
from gradwright.training.metrics import accuracy, mean_loss
from gradwright.training.model import CompiledModel
from gradwright.training.stopping import stoppable

STEPS = 10
"""Steps of L-BFGS in an epoch, each one or more passes over all rows."""


def minimise(
    model: CompiledModel,
    data: tuple[Rows, Rows],
    plan: Plan,
    reporter: Reporter,
    save: Save,
    start: Start,
) -> Outcome:
    """As `loop.train`, which see: from `start` to the end of epoch `plan.epochs`, in place."""
    rows, test = data
    at = start.position
    patience = Patience(plan.patience, at.best, at.waited)
    save(at, start.params, start.state)
    results: list[EpochResult] = []
    with stoppable() as stop, np.errstate(all="ignore"):
        while at.epoch < plan.epochs and not (stop.requested or patience.over):
            reporter.epoch_started(at.epoch + 1, len(rows), 0)
            began = time.perf_counter()
            found = lbfgs(model, start.params, *rows.inputs(), steps=STEPS)
            seconds = time.perf_counter() - began
            at = replace(at, epoch=at.epoch + 1, step=at.step + len(found.losses) - 1)
            _require_finite(found, at, start)
            share = accuracy(model, start.params, test)
            if patience.limit is not None:
                patience.improved(-mean_loss(model, start.params, test) if share is None else share)
            at = replace(at, best=patience.best, waited=patience.waited)
            save(at, start.params, start.state)
            passes = len(rows) * (len(found.losses) - 1)
            loss = found.losses[-1]
            result = EpochResult(at.epoch, loss, share, seconds, passes, at.step, math.nan)
            results.append(result)
            reporter.advanced(len(rows), loss, share, math.nan)
            reporter.epoch_finished(result)
            if found.reason == "gradient":
                break
    return Outcome(results, at, stop.requested, patience.over)


def _require_finite(found: Minimised, at: Position, start: Start) -> None:
    if not math.isfinite(found.losses[-1]):
        raise DivergedError(
            f"the loss is {found.losses[-1]} at step {at.step} of L-BFGS",
            notes=(*blame(start.params, {}), "the last good checkpoint is kept"),
            fix="begin with smaller parameters, or train with --optimizer sgd first",
        )
