"""The command line: each command is a short function that calls the face and prints.

A user's mistake (`GradwrightError`) is reported on stderr with exit code 2; a gradient that fails
its check gives 1, a run stopped by Ctrl-C 130. What a command needs is imported inside it, so that
`--help` answers at once.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ir.errors import GradwrightError

if TYPE_CHECKING:
    from gradwright.model_file import ModelFile
    from gradwright.training.model import CompiledModel

STOPPED = 130


class Target(StrEnum):
    """The languages that a network is emitted in."""

    numpy = "numpy"
    c = "c"


class DType(StrEnum):
    """The floating types of a compiled network."""

    float32 = "float32"
    float64 = "float64"


class Format(StrEnum):
    """The forms of what is inspected."""

    text = "text"
    latex = "latex"
    html = "html"
    svg = "svg"


class Known(StrEnum):
    """The data sets that can be fetched."""

    mnist = "mnist"


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(no_args_is_help=True, help="Fetch and verify data sets.")
app.add_typer(data_app, name="data")

Model = Annotated[
    str,
    typer.Argument(metavar="MODEL.py[:name]", help="A file with a @gw.network function."),
]
OptTarget = Annotated[Target | None, typer.Option(help="Language of the source (default: c).")]
OptDType = Annotated[DType | None, typer.Option(help="Floating type (default: the network's).")]
OptBatch = Annotated[int | None, typer.Option(min=1, help="Rows in a batch (default: 128).")]
OptLr = Annotated[
    float | None,
    typer.Option(min=0.0, help="Learning rate (default: 0.1, or the optimizer's own)."),
]
OptOptimizer = Annotated[
    str | None,
    typer.Option(help="sgd, momentum, rmsprop, adagrad, adam or adamw (default: sgd)."),
]
OptTrainOptimizer = Annotated[
    str | None,
    typer.Option(
        help="sgd, momentum, rmsprop, adagrad, adam or adamw (default: sgd), or lbfgs, which takes"
        " all rows at once: an epoch is 10 of its steps."
    ),
]
OptThreads = Annotated[int | None, typer.Option(min=1, help="Threads of the C (default: 1).")]
OptPortable = Annotated[
    bool, typer.Option("--portable", help="C with the same bits on every machine, but slower.")
]
OptDataDir = Annotated[
    Path | None,
    typer.Option(help="Folder with mnist/*.gz (default: GRADWRIGHT_DATA, else the user's cache)."),
]


def main() -> None:
    """Run the command; a `GradwrightError` ends it with its report and exit code 2."""
    if isinstance(sys.stdout, TextIOWrapper):  # a file's name need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="gradwright")
    except GradwrightError as error:
        sys.stderr.write(error.report() + "\n")
        sys.exit(2)
    except OSError as error:  # a path that the system refuses, a pipe that was closed
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(2)


def _say_version(asked: bool) -> None:
    if asked:
        from compiler.driver import VERSION

        sys.stdout.write(f"gradwright {VERSION}\n")
        raise typer.Exit


@app.callback()
def gradwright(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Symbolic gradients of neural networks, emitted as NumPy and C99, and trained."""


@app.command(
    "compile", epilog="Example: gradwright compile examples/mnist_mlp.py --target c --out generated"
)
def compile_command(
    model: Model,
    target: OptTarget = None,
    batch: OptBatch = None,
    dtype: OptDType = None,
    optimizer: OptOptimizer = None,
    lr: OptLr = None,
    threads: OptThreads = None,
    portable: OptPortable = False,
    out: Annotated[Path, typer.Option(help="Folder for the emitted source.")] = Path("generated"),
) -> None:
    """Emit a network as standalone source: forward, gradient and update in one file."""
    module = _compiled(
        _source(model),
        out,
        target=_value(target),
        batch=batch,
        dtype=_value(dtype),
        optimizer=optimizer,
        lr=lr,
        threads=threads,
        portable=portable,
    )
    _console().print(
        f"{module.NAME}: {module.TARGET} {module.DTYPE}, batch {module.MAX_BATCH},"
        f" workspace {module.WORKSPACE_BYTES} bytes, {module.FLOPS_PER_STEP} operations a step\n"
        f"written to {out}; import {module.NAME}_{module.TARGET}"
    )


@app.command(epilog="Example: gradwright train examples/mnist_mlp.py --epochs 10 --lr 0.1")
def train(
    model: Model,
    data: Annotated[
        str | None,
        typer.Option(
            help="mnist, digits, or a folder of IDX files (default: auto, which is MNIST when it"
            " can be had and the embedded digits otherwise)."
        ),
    ] = None,
    data_dir: OptDataDir = None,
    target: OptTarget = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Epochs in all, also after --resume (default: 10; 40 below 10,000 images).",
        ),
    ] = None,
    batch: OptBatch = None,
    dtype: OptDType = None,
    optimizer: OptTrainOptimizer = None,
    lr: OptLr = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of initial parameters and shuffling (default: 0).")
    ] = None,
    threads: OptThreads = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run (default: runs/NAME).")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Checkpoint, or folder of a run, to go on from.")
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="Learning rate over the run, lengths in epochs: constant, step:EPOCHS[:FACTOR],"
            " cosine[:LOWEST], each with warmup:EPOCHS+ before it (default: constant)."
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="End after so many epochs without a better test accuracy."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Afterwards, curves and pictures in one page."),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv", help="The figures of each epoch (always in the run's history.csv)."
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="TensorBoard event files.")
    ] = None,
) -> None:
    """Train a network, with a checkpoint after every epoch. Ctrl-C stops cleanly and saves."""
    from gradwright.train_run import TrainOptions, run
    from gradwright.training.observers import Extras

    options = TrainOptions(
        model, epochs, data, data_dir, _value(target), _value(dtype), batch, optimizer, lr, seed,
        threads, out, resume, schedule, patience, Extras(report, csv, tensorboard),
    )  # fmt: skip
    if run(options, _console()).stopped:
        raise typer.Exit(STOPPED)


@app.command(
    epilog="Example: gradwright predict examples/mnist_mlp.py 7.png --checkpoint runs/mnist_mlp"
)
def predict(
    model: Model,
    image: Annotated[Path, typer.Argument(metavar="IMAGE.png", help="A picture of one digit.")],
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint, or folder of a run.")],
) -> None:
    """Say which class a picture shows, with what the network saw of it."""
    from gradwright.predict_run import PredictOptions, blocks, table
    from gradwright.predict_run import predict as run

    found, seen = run(PredictOptions(model, image, checkpoint))
    console = _console()
    console.print(f"{image.name}, as {_source(model).name or _source(model).path.stem} sees it:")
    for line in (*blocks(seen), "", *table(found)):
        console.print(line)


@app.command(
    epilog="Example: gradwright inspect examples/mnist_mlp.py --wrt fc1.W --full, or --format html"
    " --out mnist_mlp.html for everything in one page"
)
def inspect(
    model: Model,
    wrt: Annotated[
        str | None,
        typer.Option(help="Derive the loss by this tensor, or by one element: fc1.W[0,3]."),
    ] = None,
    format: Annotated[
        Format,
        typer.Option(
            help="Without --wrt: html is the whole network, svg its picture (with --report: that"
            " of the memory plan)."
        ),
    ] = Format.text,
    full: Annotated[
        bool, typer.Option("--full", help="Everything about each step, not a line each.")
    ] = False,
    stop_after: Annotated[
        str | None, typer.Option(metavar="PASS", help="Print the program after this pass.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Show what each pass did, in figures.")
    ] = False,
    batch: OptBatch = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file (default: print).")] = None,
) -> None:
    """Show a network's definitions, the derivation of a gradient, or what the compiler did."""
    from compiler.driver import write
    from gradwright.inspection.command import InspectOptions, shown

    options = InspectOptions(wrt, format.value, full, stop_after, report, batch or 128)
    source = _source(model)
    with source.errors():
        text = shown(source.load(), options).rstrip("\n") + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        write({out.name: text}, out.parent)


@app.command(epilog="Example: gradwright check examples/mnist_mlp.py")
def check(
    model: Model,
    seed: Annotated[int, typer.Option(min=0, help="Of parameters and inputs.")] = 0,
) -> None:
    """Compare each symbolic gradient with numerical differences; exit code 1 if one differs."""
    import gradwright as gw

    source = _source(model)
    with source.errors():
        result = gw.gradcheck(source.load(), seed=seed)
    sys.stdout.write(result.text().rstrip("\n") + "\n")
    if not result.ok:
        raise typer.Exit(1)


@app.command(epilog="Example: gradwright bench examples/mnist_mlp.py --batch 32 --repeats 50")
def bench(
    model: Model,
    target: OptTarget = None,
    batch: OptBatch = None,
    dtype: OptDType = None,
    optimizer: OptOptimizer = None,
    threads: OptThreads = None,
    repeats: Annotated[int, typer.Option(min=3, help="Repeats of each measurement.")] = 30,
    top: Annotated[int, typer.Option(min=1, help="Kernels shown, the slowest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, every kernel.")] = False,
) -> None:
    """Time a network on made-up inputs: its functions, and in C each kernel of its step."""
    from gradwright.bench_run import BenchOptions, run
    from gradwright.compile_options import CompileOptions

    options = CompileOptions.said(
        target=_value(target), batch=batch, dtype=_value(dtype), optimizer=optimizer,
        threads=threads,
    )  # fmt: skip
    run(BenchOptions(_source(model), options, repeats, top, as_json), _console())


@data_app.command(epilog="Example: gradwright data fetch mnist")
def fetch(
    name: Annotated[Known, typer.Argument(help="The data set.")],
    data_dir: Annotated[
        Path | None, typer.Option(help="Put it in DIR/mnist (default: the user's cache).")
    ] = None,
) -> None:
    """Download a data set, checked against its pinned digests; what is there is kept."""
    from gradwright.training.download import cache_folder
    from gradwright.training.progress import download_report
    from gradwright.training.sources import fetch_mnist

    console = _console()
    folder = cache_folder() if data_dir is None else data_dir / name.value
    with download_report(console) as progress:
        fetch_mnist(folder, progress)
    console.print(f"{name.value} is complete in {folder}")


@data_app.command(epilog="Example: gradwright data verify mnist --data-dir data")
def verify(
    name: Annotated[Known, typer.Argument(help="The data set.")],
    data_dir: OptDataDir = None,
) -> None:
    """Check a data set file by file; exit code 2 if one is missing or damaged."""
    from gradwright.training import mnist
    from gradwright.training.download import cache_folder
    from gradwright.training.sources import named_folder

    folder = named_folder(data_dir) or cache_folder()
    console = _console()
    console.print(f"{name.value} in {folder}")
    reports = mnist.verify(folder)
    for report in reports:
        sizes = "x".join(map(str, report.shape))
        console.print(f"{report.name:<30} {sizes or '-':<14} {'bad' if report.problem else 'ok'}")
    for problem in (report.problem for report in reports if report.problem):
        sys.stderr.write(problem.report() + "\n")
    if any(report.problem for report in reports):
        raise typer.Exit(2)


def _source(model: str) -> ModelFile:
    from gradwright.model_file import ModelFile

    return ModelFile.parse(model)


def _compiled(source: ModelFile, out: Path, **options: Any) -> CompiledModel:
    from gradwright.compile_options import CompileOptions

    with source.errors():
        return CompileOptions.said(**options).compile(source.load(), out)


def _value(choice: Target | DType | None) -> str | None:
    return None if choice is None else choice.value


def _console() -> Console:
    """Text as it is: no markup (shapes have brackets), no colours guessed, no wrapping."""
    return Console(markup=False, highlight=False, soft_wrap=True)
