"""Inspection: derivations in all their forms, the page of a network, what the compiler did.

What needs a browser (are the formulas drawn, does a click show a chain) is in
tests/browser/open_pages.py; here a page's text is read: is it well formed, does it ask for nothing,
does every link have its target, is every name escaped.
"""

import math
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import sympy

import gradwright as gw
from compiler.explain import explain
from compiler.report import report
from gradwright.inspection import mathml
from gradwright.inspection.command import InspectOptions, shown
from gradwright.inspection.emitted import emitted
from gradwright.inspection.graph import graph
from gradwright.inspection.memory_picture import memory_picture, size_text
from gradwright.inspection.page import network_page
from gradwright.inspection.text import COLUMNS
from ir.errors import DifferentiationError, GradwrightError, InputError
from ir.expression import Access, FloorDiv, Remainder, index_symbol, tensor_symbol

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
VOID = {"meta", "link", "input", "br"}


@gw.network
def small(x: gw.f32["batch", 1, 8, 8], label: gw.i32["batch"]):
    h = gw.max_pool2d(gw.relu(gw.conv2d(x, 3, 3, padding=1, stride=1, name="conv")), 2)
    logits = gw.dense(gw.dropout(gw.flatten(h), 0.25), 4, name="fc")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)


@gw.network
def sequence(x: gw.f32["batch", 5, 3], label: gw.i32["batch"]):
    h, _ = gw.lstm(x, 4, name="lstm")
    last = gw.select(h, 1, -1)
    return gw.outputs(loss=gw.cross_entropy(gw.dense(last, 3, name="fc"), label))


@gw.network
def forward_only(x: gw.f32["batch", 6]):
    return gw.outputs(y=gw.softmax(gw.tanh(x)))


NETWORKS = [small, sequence, forward_only]
WITH_LOSS = [small, sequence]


def example(name: str) -> dict:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


@pytest.fixture(scope="module")
def graph_of_numbers() -> gw.Network:
    return example("computational_graph")["graph"]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {n.name: network_page(n, batch=4) for n in NETWORKS}


# ---------------------------------------------------------------- derivations


def test_a_step_says_everything() -> None:
    d = gw.derive(small, wrt="conv.W", batch=4)
    pool = next(s for s in d.steps if s.consumer.reduce == "max")
    assert [str(a) for a, _ in pool.deltas] == [f"{i}__of" for i in ("n", "o", "p", "q")] or (
        len(pool.deltas) == 4
    )
    assert pool.solved
    assert pool.local == 1
    relu = next(s for s in d.steps if s.because)
    assert relu.raw != relu.local
    assert "stored already" in relu.because
    shifted = next(s for s in d.steps if "overflow" in s.why)
    assert shifted.written != shifted.forward
    assert all(s.source in Path(__file__).read_text() for s in d.steps if s.source)
    assert d.steps[-1].adjoint_flops > 0
    assert d.steps[-1].shape == "[3, 1, 3, 3]"


def test_the_raw_derivative_has_the_value_of_the_one_that_is_used() -> None:
    """Through the stored output and after the safe rewriting nothing but the form has changed."""
    found = 0
    for step in gw.derive(sequence, wrt="lstm.W_ih", batch=4).steps:
        if not step.because:
            continue
        body = step.consumer.body
        reads = sorted(body.atoms(Access), key=str)
        point = {a: sympy.Float(0.3 + 0.1 * i) for i, a in enumerate(reads)}
        output = {step.consumer.access(): body.xreplace(point)}
        used, raw = step.local.xreplace(output).xreplace(point), step.raw.xreplace(point)
        at = dict.fromkeys(used.atoms(sympy.Symbol) | raw.atoms(sympy.Symbol), sympy.Integer(2))
        assert float(used.xreplace(at)) == pytest.approx(float(raw.xreplace(at)), rel=1e-12)
        found += 1
    assert found >= 3


@pytest.mark.parametrize("wrt", ["x", "conv", "conv.b", "fc"])
def test_any_tensor_can_be_derived_by(wrt: str) -> None:
    d = gw.derive(small, wrt=wrt, batch=4)
    assert d.steps[-1].of == wrt
    assert d.final[-1].startswith(f"d_{wrt}[")


@pytest.mark.parametrize(
    ("wrt", "said"),
    [
        ("label", "holds integers"),
        ("nothing", "no tensor 'nothing'"),
        ("fc.b[4]", "no element"),
        ("fc.W[0]", "no element"),
        ("fc.b[", "must be the name"),
        (3, "must be the name"),
    ],
)
def test_a_wrong_wrt_is_said(wrt: object, said: str) -> None:
    with pytest.raises(DifferentiationError, match=re.escape(said)):
        gw.derive(small, wrt=wrt)


def test_wrong_values_are_said(graph_of_numbers) -> None:
    with pytest.raises(InputError, match="no tensor nowhere"):
        gw.derive(graph_of_numbers, wrt="x", values={"nowhere": 1.0})
    with pytest.raises(InputError, match="x must have shape"):
        gw.derive(graph_of_numbers, wrt="x", values={"x": [1.0, 2.0]})


# ---------------------------------------------------------------- numbers that ride along


def test_the_graph_of_the_lecture(graph_of_numbers) -> None:
    d = gw.derive(graph_of_numbers, wrt="x")
    lines = d.text().splitlines()
    rows = {re.sub(r"[│├└─ ]+", "", line)[:3]: line.split()[-2:] for line in lines if "  " in line}
    assert rows["f=q"] == ["-12", "1"]
    assert rows["q=x"] == ["3", "-4"]
    assert rows["x-2"] == ["-2", "-4"]
    assert rows["y5-"] == ["5", "-4"]
    assert rows["z-4"] == ["-4", "3"]
    assert [f.value for f in d.factors] == [-4.0, 1.0]
    assert d.value == -4.0


def test_one_weight_is_a_product_of_four_factors() -> None:
    m = example("one_weight")
    values = {**m["WEIGHTS"], "x": m["X"], "y": m["Y"]}
    d = gw.derive(m["network_2_3_1"], wrt="hidden.W[0, 0]", batch=1, values=values)
    factors = [f.value for f in d.factors if f.local != 1]
    assert factors == pytest.approx([-1.15680614, 0.1528, 0.24207180, 1.0], abs=5e-9)
    assert math.prod(factors) == pytest.approx(d.value, rel=1e-13)
    assert f"{d.value:.8f}" == "-0.04278861"
    assert "= -0.04278861" in d.text()
    assert [str(f.local) for f in d.factors if f.local != 1][1:] == [
        "output.W[0, 0]",
        "(1 - hidden_2[0, 0])*hidden_2[0, 0]",
        "x[0, 0]",
    ]


def test_values_of_a_network_with_inputs_are_those_of_the_emitted_module(tmp_path) -> None:
    m = example("one_weight")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 2)), rng.normal(size=(3, 1))
    values = {**m["WEIGHTS"], "x": x, "y": y}
    d = gw.derive(m["network_2_3_1"], wrt="hidden.W", values=values)
    model = gw.compile(m["network_2_3_1"], target="numpy", batch=3, out=tmp_path)
    _, grads = model.value_and_grad(m["WEIGHTS"], x, y)
    np.testing.assert_allclose(d.value, grads["hidden.W"], rtol=1e-12)
    assert d.factors == ()
    many = gw.derive(m["network_2_3_1"], wrt="hidden.W[1, 2]", values=values)
    assert many.factors == ()
    assert many.value == pytest.approx(grads["hidden.W"][1, 2], rel=1e-12)


# ---------------------------------------------------------------- text and LaTeX


@pytest.mark.parametrize("network", WITH_LOSS, ids=lambda n: n.name)
@pytest.mark.parametrize("full", [False, True])
def test_text_fits_a_terminal(network: gw.Network, full: bool) -> None:
    for parameter in network.trace().parameters[::2]:
        d = gw.derive(network, wrt=parameter.name, batch=4)
        lines = d.text(full=full).splitlines()
        assert max(map(len, lines)) <= COLUMNS
        if not full:
            assert sum(bool(re.match(r" *\d+ ", line)) for line in lines) == len(d.steps)


def test_full_text_says_each_part_and_where_the_kernel_is() -> None:
    text = gw.derive(small, wrt="conv.W", batch=4).text(full=True)
    for label in (
        *("line", "written", "forward", "why", "local", "stable", "because", "deltas", "solved"),
        *("where", "receives", "sum", "emitted", "kernel"),
    ):
        assert re.search(rf"^    {label} ", text, re.M), label
    files = gw.emit(small, target="c", batch=4) | gw.emit(small, target="numpy", batch=4)
    for file, line in re.findall(r"(small(?:_numpy)?\.(?:c|py)):(\d+)", text):
        assert re.search(r"/\* |# ", files[file].splitlines()[int(line) - 1])


def test_the_deltas_of_the_index_calculus_appear_and_vanish() -> None:
    d = gw.derive(example("index_calculus")["composed"], wrt="x")
    text = d.text(full=True)
    assert "δ(p', p)" in text
    assert "δ(q', q)" in text
    assert not d.expr.atoms(sympy.KroneckerDelta)


@pytest.mark.parametrize("network", WITH_LOSS, ids=lambda n: n.name)
def test_latex_is_a_whole_document(network: gw.Network) -> None:
    for parameter in network.trace().parameters[::2]:
        text = gw.derive(network, wrt=parameter.name, batch=4).latex()
        assert text.startswith("\\documentclass")
        assert text.rstrip().endswith("\\end{document}")
        assert text.isascii()
        assert re.search(rf"kernel \w.* {network.name}.c:\d+ ", text.replace("\\_", "_"))
        bare = text.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
        assert bare.count("{") == bare.count("}")
        assert bare.count("\\left") - bare.count("\\leftarrow") == bare.count("\\right")
        body = text.partition("\\begin{document}")[2]
        assert not re.search(r"(?<!\\)[#&%](?![^\n]*\\\\|[^\n]*\\end\{cases\})", body)


def test_notebook_forms() -> None:
    d = gw.derive(small, wrt="fc.W", batch=4)
    assert d._repr_latex_().startswith("$")
    assert d._repr_latex_().endswith("$")
    fragment = d._repr_html_()
    check_well_formed(fragment)
    assert "<script" not in fragment
    assert " id=" not in fragment
    assert fragment.count("<li>") == len(d.steps)
    x, (i, k) = gw.tensor("x", (4,)), gw.indices("i k")
    bare = gw.derive(gw.sum(x[i] * x[i], over=i), wrt=x[k])
    check_well_formed(bare._repr_html_())
    check_well_formed(bare.html())
    assert "documentclass" in bare.latex()


# ---------------------------------------------------------------- pages


class Reader(HTMLParser):
    """What a page holds: its elements in balance, its addresses, and what it asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.asked: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag == "a":
            self.links.append(given.get("href") or "")
        elif given.get("src") or given.get("href"):
            self.asked.append(given.get("src") or given.get("href") or "")
        self.problems += [name for name, _ in attrs if name.startswith("on")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes something else")


def check_well_formed(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.problems == []
    assert reader.open == []
    return reader


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.name)
def test_a_page_is_whole_and_asks_for_nothing(network: gw.Network, pages) -> None:
    text = pages[network.name]
    reader = check_well_formed(text)
    assert len(reader.ids) == len(set(reader.ids))
    assert {link.removeprefix("#") for link in reader.links} <= set(reader.ids)
    assert [a for a in reader.asked if not a.startswith("data:,")] == []
    rest = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|url\((?!#)|@import|fetch\(|XMLHttp", rest)
    assert "undefined" not in text.partition("<script")[0]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.name)
def test_every_tensor_has_its_place_and_every_step_is_there(network: gw.Network, pages) -> None:
    e = explain(network, batch=4)
    reader = check_well_formed(pages[network.name])
    names = {d.name for d in e.stable.definitions}
    names |= {n for d in e.stable.definitions for n in d.reads()}
    assert {f"t-{n}" for n in names} <= set(reader.ids)
    assert {f"s-{n}" for n in range(1, len(e.steps) + 1)} <= set(reader.ids)
    assert {f"#t-{n}" for n in names} <= set(reader.links)
    assert len(e.steps) > 5 or network is forward_only


def test_a_derivation_page_holds_its_chain_alone() -> None:
    d = gw.derive(small, wrt="fc.b", batch=4)
    reader = check_well_formed(d.html())
    assert "t-fc.b" in reader.ids
    assert "t-conv.W" not in [i for i in reader.ids if i.startswith("t-")]


def test_names_and_lines_are_escaped() -> None:
    """The user's own line goes into a page as text, whatever it holds."""

    @gw.network
    def hostile(x: gw.f32["batch", 3]):
        w = gw.param("w", (), init=gw.zeros())
        total = gw.define((), gw.sum(x[n, j], over=(n, j)), name="total")
        z = gw.define((), total[()] * w[()], name="z")  # <script>alert(1)</script>
        return gw.outputs(loss=z)

    n, j = gw.indices("n j")
    for text in (network_page(hostile, batch=2), gw.derive(hostile, wrt="w").html()):
        assert "&lt;script&gt;alert" in text
        assert "<script>alert" not in text
        check_well_formed(text)


def test_the_page_of_vgg16_is_small() -> None:
    """The whole network: 138 million parameters, and the page is about their gradient."""
    text = network_page(example("vgg16")["vgg16"], batch=2)
    assert 200_000 < len(text.encode()) < 2_000_000
    check_well_formed(text)


def test_pages_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "import runpy, hashlib, re\n"
        "from gradwright.inspection.page import network_page\n"
        f"n = runpy.run_path({str(EXAMPLES / 'mnist_mlp.py')!r})['mnist_mlp']\n"
        "page = re.sub(r'[0-9.]+ ms', '', network_page(n, batch=2))\n"
        "print(hashlib.sha256(page.encode()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": str(EXAMPLES.parent),
                "PATH": "/usr/bin:/bin",
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


# ---------------------------------------------------------------- mathematics as MathML


i, k, p = (index_symbol(n) for n in "ikp")
t = Access(tensor_symbol("fc1.W", "float32"), i, k)
MATHEMATICS = [
    (t, "<msub><mi>fc1.W</mi><mrow><mi>i</mi><mo>,</mo><mi>k</mi></mrow></msub>"),
    (index_symbol("k__of"), "<msup><mi>k</mi><mo>′</mo></msup>"),
    (i - k, "<mi>i</mi><mo>−</mo><mi>k</mi>"),
    (t / 3, "<mfrac><mrow>{t}</mrow><mn>3</mn></mfrac>"),
    (-t, "<mo>−</mo>{t}"),
    (t**2, "<msup><mrow>{t}</mrow><mn>2</mn></msup>"),
    (1 / t, "<mfrac><mn>1</mn><mrow>{t}</mrow></mfrac>"),
    (sympy.sqrt(t), "<msqrt>{t}</msqrt>"),
    (sympy.exp(t), "<msup><mi>e</mi><mrow>{t}</mrow></msup>"),
    (FloorDiv(k, 4), "<mo>⌊</mo><mfrac><mi>k</mi><mn>4</mn></mfrac>"),
    (Remainder(k, 4), "<mi>mod</mi>"),
    (sympy.Sum(t, (i, 0, 3)), "<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>0</mn></mrow>"),
    (sympy.Piecewise((t, i < k), (0, True)), "<mtext>otherwise</mtext>"),
    (sympy.And(i < 3, k >= 2), "<mo>&lt;</mo><mn>3</mn>"),
    (sympy.Float(1e-5), "<mn>1</mn><mo>·</mo><msup><mn>10</mn><mn>-5</mn></msup>"),
    (sympy.Rational(-1, 2), "<mo>−</mo><mfrac><mn>1</mn><mn>2</mn></mfrac>"),
    (sympy.Abs(t), "<mo>|</mo>{t}<mo>|</mo>"),
    (sympy.tanh(t), "<mi>tanh</mi>"),
]


@pytest.mark.parametrize(("expr", "part"), MATHEMATICS, ids=lambda v: str(v)[:24])
def test_mathematics(expr: object, part: str) -> None:
    made = mathml.markup(expr)
    assert part.replace("{t}", mathml.markup(t)) in made
    check_well_formed(mathml.math(made))


def test_a_product_keeps_its_sums_in_parentheses() -> None:
    made = mathml.markup((t + 1) * t)
    assert "<mrow><mo>(</mo>" in made
    quotient = mathml.markup(t / (t + 1))
    assert "<mo>(</mo>" not in quotient


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.name)
def test_boxes_of_the_picture_do_not_meet(network: gw.Network) -> None:
    view = graph(explain(network, batch=4))
    nodes = view.nodes
    assert len(nodes) > 3
    for number, a in enumerate(nodes):
        assert 0 <= a.x <= a.x + a.width <= view.width
        assert 0 <= a.y <= a.y + a.height <= view.height
        for b in nodes[:number]:
            apart = a.x >= b.x + b.width or b.x >= a.x + a.width
            assert apart or a.y >= b.y + b.height or b.y >= a.y + a.height, (a.name, b.name)


def test_the_picture_of_known_numbers_runs_across(graph_of_numbers) -> None:
    view = graph(explain(graph_of_numbers))
    place = {n.name: n.x for n in view.nodes}
    assert place["x"] < place["q"] < place["f"]
    on_edge = {e.source: (e.value, e.gradient) for e in view.edges}
    assert on_edge == {
        "x": ("-2", "-4"),
        "y": ("5", "-4"),
        "z": ("-4", "3"),
        "q": ("3", "-4"),
        "f": ("-12", "1"),
    }


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.name)
def test_boxes_of_the_memory_plan_do_not_meet(network: gw.Network) -> None:
    boxes = memory_picture(report(network, batch=4).memory).boxes
    assert boxes
    for number, a in enumerate(boxes):
        for b in boxes[:number]:
            in_time = a.x < b.x + b.width - 1e-6 and b.x < a.x + a.width - 1e-6
            in_bytes = a.y < b.y + b.height - 1e-6 and b.y < a.y + a.height - 1e-6
            assert not (in_time and in_bytes), (a.name, b.name)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 2**30, "3.0 GiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


# ---------------------------------------------------------------- kernels and the report


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.name)
def test_every_kernel_is_found_in_both_targets(network: gw.Network) -> None:
    found = emitted(network, batch=4)
    assert found is not None
    assert found.kernels
    for kernel in found.kernels:
        for place in (kernel.numpy, kernel.c):
            assert place is not None, kernel.name
            lines = found.files[place.file].split("\n")
            assert "\n".join(lines[place.first - 1 : place.last]) == place.code
            assert kernel.members[0].name in place.code


def test_the_report_agrees_with_the_module(tmp_path) -> None:
    optimizer = gw.sgd(lr=0.1)
    r = report(small, batch=4, optimizer=optimizer)
    model = gw.compile(small, target="numpy", batch=4, optimizer=optimizer, out=tmp_path)
    last = r.passes[-1]
    assert [p.after for p in r.passes] == list(gw.PASSES)
    assert last.flops == model.FLOPS_PER_STEP
    assert last.workspace == r.memory.workspace <= r.memory.temporaries
    assert last.kernels < r.passes[-2].kernels == r.passes[-2].definitions
    assert last.bytes < r.passes[-2].bytes
    assert all(p.seconds > 0 for p in r.passes)


def test_the_report_of_a_network_without_a_loss() -> None:
    assert report(forward_only).passes[-1].kernels >= 1
    assert "pass" in shown(forward_only, InspectOptions(report=True))


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("options", "start"),
    [
        (InspectOptions(), "program small"),
        (InspectOptions(stop_after="fuse"), "kernel "),
        (InspectOptions(wrt="fc.W"), "∂cross_entropy/∂fc.W"),
        (InspectOptions(wrt="fc.W", full=True), "∂cross_entropy/∂fc.W"),
        (InspectOptions(wrt="fc.W", form="latex"), "\\documentclass"),
        (InspectOptions(wrt="fc.W", form="html"), "<!doctype html>"),
        (InspectOptions(form="html"), "<!doctype html>"),
        (InspectOptions(form="svg"), "<svg"),
        (InspectOptions(report=True), "small, operations"),
        (InspectOptions(report=True, form="html"), "<!doctype html>"),
        (InspectOptions(report=True, form="svg"), "<svg"),
    ],
)
def test_the_command_shows(options: InspectOptions, start: str) -> None:
    text = shown(small, options)
    assert text.lstrip().startswith(start)
    if options.form in ("html", "svg"):
        check_well_formed(text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (InspectOptions(wrt="fc.W", report=True), "show different things"),
        (InspectOptions(stop_after="fuse", report=True), "show different things"),
        (InspectOptions(stop_after="nowhere"), "no pass nowhere"),
        (InspectOptions(stop_after="fuse", form="html"), "printed as text"),
        (InspectOptions(form="latex"), "form of a derivation"),
        (InspectOptions(wrt="fc.W", form="svg"), "a picture"),
        (InspectOptions(full=True), "--full is about"),
    ],
)
def test_the_command_refuses(options: InspectOptions, said: str) -> None:
    with pytest.raises(GradwrightError, match=re.escape(said)):
        shown(small, options)
