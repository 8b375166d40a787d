"""Random networks of the op library: one recipe, read once by gradwright and once by torch.

    recipe = draw(seed=3)
    network, twin = declare(recipe), Twin(recipe)

A recipe is plain data: the input's shape, a list of layers, a loss. Reading it twice, by two
programs that share nothing else, is what makes the comparison worth something. Loops and
convolutions are not in here: test_index_notation.py compares those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

import gradwright as gw

ACTIVATIONS = ("relu", "sigmoid", "tanh", "softmax", "log_softmax")


@dataclass(frozen=True, slots=True)
class Layer:
    """`dense` makes `width` columns, `gate` multiplies by a vector, `skip` adds an older tensor."""

    kind: str
    width: int
    reaches_back: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    rows: int
    inputs: tuple[int, ...]
    layers: tuple[Layer, ...]
    loss: str

    @property
    def width(self) -> int:
        return self.layers[-1].width

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter, in the order in which the layers declare them."""
        found: dict[str, tuple[int, ...]] = {}
        before = int(np.prod(self.inputs))
        for number, layer in enumerate(self.layers):
            if layer.kind == "dense":
                found[f"layer{number}.W"] = (before, layer.width)
                found[f"layer{number}.b"] = (layer.width,)
            elif layer.kind == "gate":
                found[f"layer{number}.g"] = (layer.width,)
            before = layer.width
        return found


def draw(seed: int) -> Recipe:
    rng = np.random.default_rng(seed)
    inputs = tuple(int(size) for size in rng.integers(2, 7, size=rng.integers(1, 4)))
    layers: list[Layer] = []
    for _ in range(rng.integers(2, 6)):
        layers.append(Layer("dense", int(rng.integers(2, 20))))
        layers += _after_dense(rng, layers)
    loss = str(rng.choice(["cross_entropy", "mse", "likelihood"]))
    return Recipe(f"random_{seed}", int(rng.integers(1, 9)), inputs, tuple(layers), loss)


def _after_dense(rng: np.random.Generator, before: list[Layer]) -> list[Layer]:
    """An activation, and now and then a gate, or a path around both."""
    width = before[-1].width
    added = [Layer(str(rng.choice(ACTIVATIONS)), width)]
    if rng.random() < 0.4:
        added.append(Layer("gate", width))
    if rng.random() < 0.4:
        added.append(Layer("skip", width, reaches_back=len(added)))
    return added


def declare(recipe: Recipe) -> gw.Network:
    """The recipe in the DSL."""
    integer = recipe.loss != "mse"

    def body(x: gw.Tensor, target: gw.Tensor):
        values = [gw.flatten(x) if len(recipe.inputs) > 1 else x]
        for number, layer in enumerate(recipe.layers):
            values.append(_declare_layer(layer, f"layer{number}", values))
        out = values[-1]
        return gw.outputs(loss=_declare_loss(recipe.loss, out, target), out=out)

    body.__name__ = recipe.name
    body.__annotations__ = {
        "x": gw.f64["batch", *recipe.inputs],
        "target": gw.i32["batch"] if integer else gw.f64["batch", recipe.width],
    }
    return gw.network(body)


def _declare_layer(layer: Layer, name: str, values: list[gw.Tensor]) -> gw.Tensor:
    x = values[-1]
    match layer.kind:
        case "dense":
            return gw.dense(x, layer.width, name=name)
        case "gate":
            return gw.mul(x, gw.param(f"{name}.g", (layer.width,), init=gw.uniform(0.5, 1.5)))
        case "skip":
            return gw.add(x, values[-1 - layer.reaches_back])
        case activation:
            return getattr(gw, activation)(x)


def _declare_loss(loss: str, out: gw.Tensor, target: gw.Tensor) -> gw.Tensor:
    if loss != "likelihood":
        return getattr(gw, loss)(out, target)
    n = gw.indices("n")
    log_p = gw.log_softmax(out)
    return gw.define((), -gw.mean(log_p[n, target[n]], over=n), name="likelihood")


class Twin:
    """The recipe in torch, in float64; `value_and_grad` as in our modules."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def value_and_grad(
        self, params: dict[str, np.ndarray], x: np.ndarray, target: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray]]:
        tensors = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
        loss = self._loss(self._out(tensors, torch.tensor(x)), torch.tensor(target))
        loss.backward()
        return loss.item(), {k: v.grad.numpy() for k, v in tensors.items() if v.grad is not None}

    def _out(self, tensors: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        values = [x.flatten(1)]
        for number, layer in enumerate(self.recipe.layers):
            values.append(self._layer(layer, f"layer{number}", tensors, values))
        return values[-1]

    def _layer(
        self, layer: Layer, name: str, tensors: dict[str, torch.Tensor], values: list[torch.Tensor]
    ) -> torch.Tensor:
        x = values[-1]
        match layer.kind:
            case "dense":
                return x @ tensors[f"{name}.W"] + tensors[f"{name}.b"]
            case "gate":
                return x * tensors[f"{name}.g"]
            case "skip":
                return x + values[-1 - layer.reaches_back]
            case "softmax" | "log_softmax":
                return getattr(torch, layer.kind)(x, dim=1)
            case activation:
                return getattr(torch, activation)(x)

    def _loss(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        match self.recipe.loss:
            case "cross_entropy":
                return torch.nn.functional.cross_entropy(out, target.long())
            case "likelihood":
                return torch.nn.functional.nll_loss(torch.log_softmax(out, 1), target.long())
            case _:
                return torch.nn.functional.mse_loss(out, target)


def numbers(recipe: Recipe, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An input and a target that fit the recipe."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(recipe.rows, *recipe.inputs))
    if recipe.loss == "mse":
        return x, rng.normal(size=(recipe.rows, recipe.width))
    return x, rng.integers(0, recipe.width, recipe.rows, dtype=np.int32)


def parameters(recipe: Recipe, seed: int) -> dict[str, np.ndarray]:
    """Weights that keep a layer's output near the size of its input; no bias is zero."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=shape) / (np.sqrt(shape[0]) if len(shape) == 2 else 1)
        for name, shape in recipe.shapes().items()
    }


def well_conditioned(seed: int) -> bool:
    """Whether every parameter has a gradient that stands out from the rounding of the loss.

    In a saturated network (softmax of large numbers into softmax) gradients of 1e-6 are differences
    of numbers near 1. Against the complex step in long double, torch itself is then off by 3e-11.
    """
    recipe = draw(seed)
    _, grads = Twin(recipe).value_and_grad(parameters(recipe, seed), *numbers(recipe, seed))
    return min(abs(grad).max() for grad in grads.values()) > 1e-3
