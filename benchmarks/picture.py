"""The picture of the results: a row of points a case, how close everybody comes to the limit.

    draw(results, Path("results.png"))

On a ground of its own, so that it can be read on a light page and on a dark one.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.race import Result

GROUND, INK, GRID = "#f7f5f0", "#22252a", "#d8d4ca"
OURS = {"gradwright_c": "#b3261e", "gradwright_c_alone": "#e0663c", "gradwright_numpy": "#d9a400"}
PEERS = {
    "numpy_by_hand": "#7a7f87",
    "torch_eager": "#3b5ba9",
    "torch_compiled": "#7fa1e0",
    "numpy_out": "#c9a227",
    "jax_step": "#2a7f62",
    "jax_scan": "#76c2a0",
    "pytensor_c": "#8a4fa3",
    "tinygrad_cpu": "#b79bc4",
}


def draw(results: list[Result], path: Path) -> None:
    """Writes the picture; the ending of the path says which kind."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.42 * len(results) + 1.9), facecolor=GROUND)
    axes.set_facecolor(GROUND)
    labels: dict[str, str] = {}
    for row, result in enumerate(results):
        axes.axhline(row, color=GRID, linewidth=0.8, zorder=0)
        for time in (t for t in result.times if t.contestant.threads == 1):
            peer = time.contestant.peer
            colour = OURS.get(peer) or PEERS[peer]
            share = result.limit / time.seconds
            label = labels.setdefault(peer, time.contestant.label)
            axes.scatter(
                share, row, color=colour, s=62 if peer in OURS else 34,
                marker="D" if peer in OURS else "o", zorder=3, label=label,
            )  # fmt: skip
    _axes(axes, results)
    known = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(
        known.values(), known.keys(), ncols=4, loc="lower center", frameon=False,
        labelcolor=INK, fontsize=8,
    )  # fmt: skip
    figure.tight_layout(rect=(0, 0.85 / figure.get_size_inches()[1], 1, 1))
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=150, facecolor=GROUND, format=path.suffix[1:], metadata=UNDATED)
    temporary.replace(path)
    plt.close(figure)


UNDATED = {"Software": None}


def _axes(axes: object, results: list[Result]) -> None:
    axes.set_xscale("log")
    axes.set_yticks(range(len(results)), [r.case.title for r in results], color=INK, fontsize=8.5)
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.axvline(1.0, color=INK, linewidth=1.0)
    marks = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    axes.set_xticks(marks, [f"{m:.0%}" for m in marks], color=INK, fontsize=8.5)
    axes.minorticks_off()
    axes.set_xlabel("share of the machine's limit (right is faster)", color=INK, fontsize=9)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
