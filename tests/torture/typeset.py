"""Derivations as LaTeX, each compiled by itself with pdflatex: one table.

    python -m tests.torture.typeset [FOLDER]

The first and the last parameter of every example below; the PDF files stay in FOLDER. Needs
pdflatex with amsmath, graphicx and geometry. Exit code 1 if a document does not compile, or has a
line that is wider than the page.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import gradwright as gw
from gradwright.model_file import ModelFile

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = (
    "computational_graph:graph",
    "index_calculus:composed",
    "tensor_used_twice:by_matrix",
    "one_weight",
    "mnist_mlp",
    "lenet5",
    "two_convolutions",
    "small_gpt",
)


def network_of(example: str) -> gw.Network:
    file, _, name = example.partition(":")
    return ModelFile.parse(f"{ROOT / 'examples' / file}.py{':' + name if name else ''}").load()


def typeset(name: str, text: str, folder: Path) -> tuple[bool, int, int]:
    """(whether it compiled, pages, lines that are wider than the page)."""
    (folder / f"{name}.tex").write_text(text, encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    pages = re.search(r"Output written on .*?\((\d+) page", done.stdout.replace("\n", ""))
    return done.returncode == 0, int(pages[1]) if pages else 0, done.stdout.count("Overfull")


def main() -> int:
    if shutil.which("pdflatex") is None:
        print("pdflatex is not here: install TeX Live with amsmath, graphicx and geometry")
        return 1
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="typeset-"))
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    print("| network | by | steps | pages | too wide | |\n|---|---|---|---|---|---|")
    for example in EXAMPLES:
        network = network_of(example)
        names = [p.name for p in network.trace().parameters if p.role == "parameter"]
        for wrt in dict.fromkeys([names[0], names[-1]]):
            d = gw.derive(network, wrt=wrt)
            file = re.sub(r"\W", "_", f"{network.name}_{wrt}")
            good, pages, wide = typeset(file, d.latex(), folder)
            said = "" if good and not wide else "FAILED"
            failed += bool(said)
            row = (network.name, wrt, str(len(d.steps)), str(pages), str(wide), said)
            print(f"| {' | '.join(row)} |", flush=True)
    print(f"\nPDF files in {folder}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
