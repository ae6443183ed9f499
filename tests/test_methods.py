"""Sixteen published methods: as a regularizer on the public contract, and as a loop by hand, they agree."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest
import torch
from methods import by_hand_objective, by_hand_weights
from methods.loop import Loop
from methods.networks import Plain, Residual
from trainings import assembled, greatest_difference, stack, trained, trainer, weights

from regplug.sites import SiteLayer, WeightLayer

PLUGINS = Path(__file__).parent / "methods" / "plugins"
FILES = {file.stem: file for file in sorted(PLUGINS.glob("*.py"))}
SEEDS = (0, 1, 2)
L2, DROP = (0.02, 0.0, 0.05), (0.25, 0.5, 0.125)
TOLERANCE = 1e-9

METHODS = {
    "FGSM": ("fgsm", "radius", (0.1, 0.3, 0.03)),
    "PGD": ("pgd", "steps=3,step_share=0.5,radius", (0.1, 0.3, 0.03)),
    "VAT": ("vat", "radius", (0.5, 2.0, 0.1)),
    "GradientPenalty": ("gradient_penalty", "strength", (0.05, 0.2, 0.01)),
    "MeanTeacher": ("mean_teacher", "decay=0.9,ramp=1,strength", (1.0, 5.0, 0.3)),
    "TemporalEnsembling": ("temporal_ensembling", "ramp=1,strength", (1.0, 5.0, 0.3)),
    "Focal": ("focal", "gamma", (2.0, 0.5, 4.0)),
    "SelfPaced": ("curriculum", "threshold", (1.0, 0.8, 2.0)),
    "SpectralNorm": ("spectral_norm", "norm", (1.0, 2.0, 0.5)),
    "DropConnect": ("dropconnect", "drop_probability", (0.25, 0.5, 0.125)),
    "VariationalDropout": ("weights", "strength", (0.01, 0.1, 0.001)),
    "GradientNoise": ("gradient_noise", "variance", (0.01, 0.1, 0.001)),
    "Pruning": ("pruning", "every=4,end=1,sparsity", (0.5, 0.9, 0.2)),
    "ManifoldMixup": ("manifold_mixup", "alpha", (1.0, 0.4, 2.0)),
    "ShakeDrop": ("shake_drop", "drop_probability", (0.5, 0.8, 0.2)),
    "SnapshotEnsemble": ("snapshot_ensemble", "cycles=3,lowest", (0.1, 0.5, 0.02)),
}
"""Name -> the plugin's file, or the component that ships; what is set, at last the number that differs
in a stack; and its values."""

VARIANTS = {"alone": (False, False), "with batch norm": (True, False), "with l2 and dropout": (True, True)}


def by_hand(name):
    return getattr(by_hand_objective, name, None) or getattr(by_hand_weights, name)


def make(name, has_norm):
    network = Residual if name == "ShakeDrop" else Plain
    return functools.partial(network, has_norm=has_norm)


def fields(name, number, *, composed):
    """What the run of that number has of its own."""
    file, parameter, values = METHODS[name]
    path = f"{FILES[file]}:{name}" if file in FILES else file
    regs = [f"{path}:{parameter}={values[number]}"]
    if composed:
        regs += [f"l2:strength={L2[number]}", f"dropout:drop_probability={DROP[number]}"]
    return {"reg": regs, "seed": SEEDS[number]}


def common(name, *, has_norm):
    hand = by_hand(name)
    return {"model": make(name, has_norm), "dtype": "float64", "epochs": hand.epochs, "lr": hand.rate}


@functools.cache
def expected(name, number, variant):
    """The loop by hand, trained."""
    has_norm, composed = VARIANTS[variant]
    made = assembled(**common(name, has_norm=has_norm), seed=SEEDS[number])
    network = make(name, has_norm)().double()
    _start(network, made)
    more = {"l2": L2[number], "drop": DROP[number]} if composed else {}
    strength = METHODS[name][2][number]
    return by_hand(name)(network, made.data.train, strength=strength, seed=SEEDS[number], **more).train()


@torch.no_grad()
def _start(network, made):
    """Gives a network by hand the start of a run, and leaves out of training what the run leaves out."""
    start = {**made.inputs.params, **made.inputs.buffers}
    for name, param in network.named_parameters():
        param.copy_(start[name])
        param.requires_grad_(name in made.inputs.params)


def assert_agrees(name, made, run, number, variant):
    hand = expected(name, number, variant)
    ours = {**made.weights_of(run), **made.tensors_of(run)[1]}
    assert greatest_difference(ours, _detached(hand.tensors()), relative=True) < TOLERANCE
    members = made.state.ensembles[run] if made.state.ensembles else []
    assert len(members) == len(hand.members)
    for (params, buffers), own in zip(members, hand.members, strict=True):
        assert greatest_difference({**params, **buffers}, own, relative=True) < TOLERANCE


def _detached(tensors):
    return {name: value.detach() for name, value in tensors.items()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", METHODS)
def test_a_method_as_a_plugin_is_its_loop_by_hand(name, variant):
    has_norm, composed = VARIANTS[variant]
    made, _ = trained(trainer(**fields(name, 0, composed=composed), **common(name, has_norm=has_norm)))
    assert_agrees(name, made, 0, 0, variant)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", METHODS)
def test_three_runs_of_a_method_in_a_stack_are_three_loops_by_hand(name, variant):
    has_norm, composed = VARIANTS[variant]
    runs = [fields(name, number, composed=composed) for number in range(3)]
    made, _ = trained(stack(*runs, **common(name, has_norm=has_norm)))
    for number in range(3):
        assert_agrees(name, made, number, number, variant)


PAIRS = [
    ("FGSM", "SpectralNorm"),
    ("PGD", "ManifoldMixup"),
    ("VAT", "DropConnect"),
    ("GradientPenalty", "Pruning"),
    ("MeanTeacher", "VariationalDropout"),
    ("TemporalEnsembling", "Focal"),
    ("SelfPaced", "GradientNoise"),
    ("SpectralNorm", "DropConnect"),
    ("TemporalEnsembling", "SnapshotEnsemble"),
    ("GradientNoise", "VariationalDropout"),
]


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_two_methods_together_train_in_a_stack_as_they_do_alone(pair):
    runs = [
        {"reg": [reg for name in pair for reg in fields(name, number, composed=False)["reg"]], "seed": SEEDS[number]}
        for number in range(2)
    ]
    shared = {**common(pair[0], has_norm=True), "epochs": 3}
    together, _ = trained(stack(*runs, **shared))
    alone, _ = trained(trainer(**runs[1], **shared))
    assert greatest_difference(weights(together, 1), weights(alone), relative=True) < TOLERANCE


@pytest.mark.parametrize("name", METHODS)
def test_each_loop_by_hand_is_another_training_than_that_without_the_method(name):
    made = assembled(**common(name, has_norm=False))
    network = make(name, has_norm=False)().double()
    _start(network, made)
    plain = Loop(network, made.data.train, strength=0.0, seed=0).train().weights()["output.bias"]
    assert (expected(name, 0, "alone").weights()["output.bias"] - plain).abs().max() > 1e-4


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name][0] in FILES])
def test_a_method_takes_at_most_forty_lines(name):
    tree = ast.parse(FILES[METHODS[name][0]].read_text())
    spans = {node.name: node.end_lineno - node.lineno + 1 for node in tree.body if hasattr(node, "name")}
    names = list(spans)
    others = [names.index(other) for other in (*METHODS, "Strength") if other in names]
    start = names.index(name)
    end = min([at for at in others if at > start], default=len(names))
    assert sum(spans[each] for each in names[start:end]) <= 40


FORMATS = (["onnx", "torchscript"], ["pt2", "torchscript"], ["onnx", "onnx_fp16"], ["onnx", "pt2"])
"""Each method is exported to one of these, in turn."""


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_method_exports_and_verifies(name, place):
    number = list(METHODS).index(name)
    result = place.run(
        reg=fields(name, 0, composed=True)["reg"],
        model=make(name, has_norm=True),
        epochs=by_hand(name).epochs,
        export=True,
        format=FORMATS[number % len(FORMATS)],
        out="bundle",
    )
    assert [check for check in result.verification.checks if not check.passed] == []
    assert result.verification.passed
    assert not any(isinstance(module, SiteLayer | WeightLayer) for module in result.model.modules())
