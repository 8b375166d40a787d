"""`gradwright train`, from options to a finished run: what the command line does, in order.

    run(TrainOptions(model="examples/mnist_mlp.py", epochs=3), console)

A resumed run takes whatever is not said again from its checkpoint. Options that would silently
make it another run (seed, batch, data, dtype, optimizer) are refused; rate, target, threads and
epochs may change.

Beside the checkpoint stands `history.csv`, one row an epoch; reports, further CSV files and
TensorBoard events are made of the same figures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from gradwright.compile_options import CompileOptions
from gradwright.model_file import ModelFile
from gradwright.training import checkpoint as checkpoints
from gradwright.training.batches import Rows, fit
from gradwright.training.checkpoint import FILE_NAME, Checkpoint, Position, Settings
from gradwright.training.datasets import Dataset
from gradwright.training.full_batch import minimise
from gradwright.training.history import FILE_NAME as HISTORY
from gradwright.training.loop import Outcome, Plan, Save, Start, fresh, train
from gradwright.training.model import Arrays, CompiledModel
from gradwright.training.observers import Extras, earlier, observed
from gradwright.training.progress import download_report, reporter
from gradwright.training.report import headline, summary
from gradwright.training.report_page import Finished, write_report
from gradwright.training.runs import run_folder
from gradwright.training.schedules import Schedule, named
from gradwright.training.sources import choose
from gradwright.training.watch import Watch
from gradwright.training.whole_file import remove_leftovers
from ir.errors import CheckpointError, InputError

LBFGS = "lbfgs"


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The options of the command; None stands for what was not said."""

    model: str
    epochs: int | None = None
    data: str | None = None
    data_dir: Path | None = None
    target: str | None = None
    dtype: str | None = None
    batch: int | None = None
    optimizer: str | None = None
    lr: float | None = None
    seed: int | None = None
    threads: int | None = None
    out: Path | None = None
    resume: Path | None = None
    schedule: str | None = None
    patience: int | None = None
    extras: Extras = Extras()


EPOCHS = 10
SMALL, SMALL_EPOCHS = 10_000, 40
"""A data set of fewer rows has few steps in an epoch, and so needs more of them."""


def run(options: TrainOptions, console: Console) -> Outcome:
    """Load, compile, train, save, and print. Raises `GradwrightError` for every user's mistake."""
    options.extras.require_libraries()
    _refuse_unknown(options)
    source = ModelFile.parse(options.model)
    with source.errors():
        network = source.load()
    with run_folder(network.name, options.out, options.resume) as folder:
        # Only now: no other run can write a newer checkpoint any more.
        old = None if options.resume is None else checkpoints.load(options.resume)
        remove_leftovers(folder, [FILE_NAME, HISTORY, network.name])
        dataset = _dataset(options, old, console)
        settings = _settings(options, old, dataset)
        epochs = _epochs(options, dataset)
        with source.errors():
            model = compile_options(settings).compile(network, folder)
        settings = replace(settings, dtype=model.DTYPE)
        data = fit(model, dataset)
        start = _start(options, old, model, settings)
        heading = headline(model, settings, dataset, folder)
        console.print(heading)
        plan = _plan(model, settings, epochs, len(data[0]))
        ran = Run(model, data, plan, settings, start, folder, options.extras)
        outcome = _train(ran, heading, console)
    console.print(summary(outcome, settings, folder, epochs))
    if options.extras.report is not None:
        console.print(f"{'report':<18} {options.extras.report}")
    return outcome


@dataclass(frozen=True, slots=True)
class Run:
    """All that a run is made of, once everything is chosen."""

    model: CompiledModel
    data: tuple[Rows, Rows]
    plan: Plan
    settings: Settings
    start: Start
    folder: Path
    extras: Extras


def _epochs(options: TrainOptions, dataset: Dataset) -> int:
    if options.epochs is not None:
        return options.epochs
    return EPOCHS if len(dataset.train) >= SMALL else SMALL_EPOCHS


def compile_options(settings: Settings) -> CompileOptions:
    """Those that give the module a checkpoint was trained with."""
    optimizer = "sgd" if settings.optimizer == LBFGS else settings.optimizer
    return CompileOptions.said(
        target=settings.target,
        batch=settings.batch,
        dtype=settings.dtype or None,
        optimizer=optimizer,
        lr=settings.compiled_lr,
        threads=settings.threads,
    )


def _train(run: Run, heading: str, console: Console) -> Outcome:
    params = run.start.params
    watch = Watch(run.model, params, *run.data)
    history = earlier(run.folder, run.start.position.epoch)
    save = _saver(run.model, run.settings, run.folder)
    loop = minimise if run.settings.optimizer == LBFGS else train
    with (
        reporter(run.plan.epochs, console) as shown,
        observed(shown, watch, run.folder, run.extras, history) as observer,
    ):
        outcome = loop(run.model, run.data, run.plan, observer, save, run.start)
        if not outcome.stopped:
            observer.finish()
    if run.extras.report is not None:
        said = [hint.text for hint in observer.said.values()]
        test = run.data[1]
        finished = Finished(run.model, params, test, observer.history, heading, said)
        write_report(run.extras.report, finished)
    return outcome


def _plan(model: CompiledModel, settings: Settings, epochs: int, rows: int) -> Plan:
    hyper = {} if settings.lr is None else {"lr": settings.lr}
    schedule = _schedule(settings, epochs, rows)
    return Plan(epochs, settings.batch, settings.seed, hyper, schedule, settings.patience)


def _schedule(settings: Settings, epochs: int, rows: int) -> Schedule | None:
    """The schedule by its name; None for a rate that never changes."""
    rate = settings.compiled_lr if settings.lr is None else settings.lr
    steps_per_epoch = math.ceil(rows / settings.batch)
    made = named(settings.schedule, rate, epochs, steps_per_epoch)
    return None if settings.schedule == "constant" else made


def _saver(model: CompiledModel, settings: Settings, folder: Path) -> Save:
    def save(position: Position, params: Arrays, state: Arrays) -> None:
        checkpoints.save(
            folder / FILE_NAME,
            Checkpoint(model.NAME, model.MODEL_HASH, settings, position, params, state),
        )

    return save


def _start(
    options: TrainOptions, old: Checkpoint | None, model: CompiledModel, settings: Settings
) -> Start:
    if old is None or options.resume is None:
        return fresh(model, settings.seed)
    checkpoints.require_match(options.resume, old, model)
    return Start(old.params, old.state, old.position)


def _dataset(options: TrainOptions, old: Checkpoint | None, console: Console) -> Dataset:
    choice = options.data
    if choice is None:
        choice = "auto" if old is None else _data_of(old)
    with download_report(console) as progress:
        return choose(choice, options.data_dir, console.print, progress)


def _data_of(old: Checkpoint) -> str:
    if old.settings.data in ("mnist", "digits"):
        return old.settings.data
    raise CheckpointError(
        "the checkpoint was trained on a folder of images, which it does not name",
        fix="name that folder with --data",
    )


def _settings(options: TrainOptions, old: Checkpoint | None, dataset: Dataset) -> Settings:
    if old is None:
        return _fresh_settings(options, dataset)
    kept = old.settings
    _refuse_change("data", kept.data, dataset.name)
    for name in ("dtype", "batch", "optimizer", "seed"):
        _refuse_change(name, getattr(kept, name), getattr(options, name))
    return replace(
        kept,
        target=options.target or kept.target,
        threads=options.threads or kept.threads,
        lr=kept.lr if options.lr is None else options.lr,
        schedule=options.schedule or kept.schedule,
        patience=options.patience or kept.patience,
    )


def _fresh_settings(options: TrainOptions, dataset: Dataset) -> Settings:
    _refuse_rates_with_lbfgs(options)
    chosen = CompileOptions.said(
        target=options.target,
        batch=options.batch,
        optimizer=None if options.optimizer == LBFGS else options.optimizer,
        lr=options.lr,
        threads=options.threads,
    )
    return Settings(
        dataset.name,
        chosen.target,
        options.dtype or "",
        chosen.batch,
        options.optimizer or chosen.optimizer,
        chosen.threads,
        options.seed or 0,
        chosen.rate,
        None,
        options.schedule or "constant",
        options.patience,
    )


def _refuse_unknown(options: TrainOptions) -> None:
    """A name that is none is refused before a data set is looked for, which may take its time."""
    if options.optimizer not in (None, LBFGS):
        CompileOptions.said(optimizer=options.optimizer).rule()
    if options.schedule is not None:
        named(options.schedule, 1.0, options.epochs or EPOCHS, 1)


def _refuse_rates_with_lbfgs(options: TrainOptions) -> None:
    said = {"--lr": options.lr, "--schedule": options.schedule}
    for name, value in said.items():
        if options.optimizer == LBFGS and value is not None:
            raise InputError(
                f"{name} has no meaning with --optimizer {LBFGS}",
                notes=("its line search chooses the length of each step",),
                fix=f"leave {name} out",
            )


def _refuse_change(name: str, kept: object, said: object) -> None:
    if said is not None and said != kept:
        raise CheckpointError(
            f"--{name} {said} is not that of the checkpoint",
            notes=(f"expected: {kept}", f"found: {said}"),
            fix=f"leave --{name} out, or start a new run without --resume",
        )
