"""The installed regularizers as generated tests train them: by their descriptors, on the smallest networks and data."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence

import made_artifacts
import numpy as np
import pytest
from torch import nn

from regplug.api import Model, Regularizer, Task
from regplug.config.params import ParameterInfo, describe_params
from regplug.data import InputSpec, RawData, Split
from regplug.registry import Registered, default_registry
from regplug.testing import bench

REGISTRY = default_registry()


def _needed(component: Regularizer) -> list[ParameterInfo]:
    return [info for info in describe_params(component.params) if info.needed]


REGULARIZERS = {
    REGISTRY.spelling(one): one.component
    for one in REGISTRY.components("regularizer")
    if all(info.needed.artifact in made_artifacts.MAKERS for info in _needed(one.component))
}
"""Name as it is typed -> descriptor, of every regularizer that is installed and whose parameters can be given: by their
defaults, or by something that a test makes."""

COMMON = {"dtype": "float64", "epochs": 3, "batch_size": 8, "lr": 0.05, "momentum": 0.9, "probe": ()}
"""Three epochs of four steps; the last batch has four rows."""

TRAIN_ROWS = 28


def of(name: str) -> Registered:
    """The regularizer of a name."""
    return REGISTRY.find("regularizer", name)


def needed(name: str, has_images: bool | None = None) -> dict[str, str]:
    """The values that a regularizer must be given, made for the rows or the images of `data`."""
    one = REGULARIZERS[name]
    images = needs_images([one]) if has_images is None else has_images
    return {info.name: made_artifacts.MAKERS[info.needed.artifact](images) for info in _needed(one)}


def typed(name: str, values: str = "", has_images: bool | None = None) -> str:
    """A regularizer as it is typed, at these values and with what it must be given."""
    given = [*(f"{key}={value}" for key, value in needed(name, has_images).items()), *filter(None, [values])]
    return f"{name}:{','.join(given)}" if given else name


def felt(name: str, has_images: bool | None = None) -> str:
    """A regularizer as it is typed, at its felt values."""
    return typed(name, REGULARIZERS[name].felt.values, has_images)


def off(name: str) -> list[str]:
    """The values that switch a regularizer off: one for each number that can do so."""
    infos = describe_params(REGULARIZERS[name].params)
    return [f"{info.name}={info.off:g}" for info in infos if info.off is not None]


def marked(name: str, *more: object) -> object:
    """A parameter of a test, which is slow where something must be made first."""
    return pytest.param(name, *more, marks=[pytest.mark.slow] if _needed(REGULARIZERS[name]) else [])


def needs_images(ones: Sequence[Regularizer]) -> bool:
    """Whether one of them takes no rows."""
    return any("row" not in one.inputs for one in ones)


def fields(*names: str) -> dict[str, object]:
    """A run of these regularizers, and of those that they require, with the network and the data that they need."""
    ones = [REGULARIZERS[name] for name in names]
    needed = [word for one in ones for word in (*one.requires, *one.felt.companions)]
    companions = [word for word in needed if not any(word in _words(other) for other in ones)]
    chosen = [felt(name, needs_images(ones)) for name in names]
    return {**COMMON, **setting(ones), "reg": [*chosen, *map(_first_of, dict.fromkeys(companions))]}


def setting(ones: Sequence[Regularizer]) -> dict[str, object]:
    """The network, the activation and the data that regularizers need together."""
    has_images = needs_images(ones)
    network = f"{'residual_' if any(one.felt.branches for one in ones) else ''}{'cnn' if has_images else 'mlp'}"
    kinds = [kind for kind in ("classification", "regression") if all(kind in one.tasks for one in ones)]
    activations = {one.felt.activation for one in ones} - {""}
    chosen = {"activation": activations.pop()} if activations else {}
    return {"model": MODELS[network], "dataset": data(kinds[0] if kinds else "classification", has_images), **chosen}


def contradiction(*names: str) -> str:
    """Why no network and no data suit these together; empty where some do."""
    ones = [REGULARIZERS[name] for name in names]
    if not set.intersection(*(set(one.inputs) for one in ones)):
        return "no input suits them together"
    activations = sorted({one.felt.activation for one in ones} - {""})
    return f"they need {' and '.join(activations)}" if len(activations) > 1 else ""


def _words(one: Regularizer) -> tuple[str, ...]:
    return (one.name, *one.tags)


def _first_of(word: str) -> str:
    """The first regularizer that is called so or has the tag."""
    return next(felt(name) for name, one in REGULARIZERS.items() if word in _words(one))


def _with_hidden_layer(name, params, context):
    """A network of the kit with a hidden layer behind it, so that every regularizer finds its place."""
    activate = context.activation or nn.Tanh
    layers = {"body": bench.NETWORKS[name].make(activate), "activation0": activate()}
    layers |= {"hidden1": nn.Linear(bench.OUTPUTS, bench.HIDDEN), "activation1": activate()}
    return nn.Sequential(OrderedDict(layers, output=nn.Linear(bench.HIDDEN, bench.OUTPUTS)))


def mlp(params, context):
    """That of the kit."""
    return bench.NETWORKS["mlp"].make(context.activation or nn.Tanh)


cnn, residual_mlp, residual_cnn = (
    functools.partial(_with_hidden_layer, name) for name in ("cnn", "residual", "residual_cnn")
)
MODELS = {
    name: Model(name=name, target=f"{__name__}:{name}", summary="A network of the conformance kit.")
    for name in ("mlp", "cnn", "residual_mlp", "residual_cnn")
}


@functools.cache
def data(kind: str, has_images: bool) -> RawData:
    """Rows of six features, or 6x6 images, with three classes or values that depend on them."""
    generator = np.random.default_rng(0)
    shape = (1, bench.SIDE, bench.SIDE) if has_images else (bench.FEATURES,)
    truth_FK = generator.standard_normal((int(np.prod(shape)), bench.OUTPUTS))

    def split(rows: int) -> Split:
        x = generator.standard_normal((rows, *shape)).astype(np.float32)
        values = (x.reshape(rows, -1) @ truth_FK + 0.5 * generator.standard_normal((rows, bench.OUTPUTS))).astype("f")
        return Split(x=x, y=values.argmax(1) if kind == "classification" else values)

    return RawData(
        name=f"tiny_{kind}",
        train=split(TRAIN_ROWS),
        valid=split(12),
        test=split(12),
        task=Task(kind=kind, num_outputs=bench.OUTPUTS, class_names=("a", "b", "c") if "cl" in kind else ()),
        inputs=InputSpec(layout="image" if has_images else "row", shape=shape, dtype="float32"),
    )
