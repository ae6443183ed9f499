"""Losses: which, for what, and their convention."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from trainings import assembled, assert_same_bits, greatest_difference, stack, toy, trained, weights

from regplug.api import Loss, Task
from regplug.config import RunConfig, load_config
from regplug.errors import CompositionError, ParameterError, PluginError, RequestError, UnknownComponentError
from regplug.registry import build, default_registry
from regplug.registry.components import default_loss, find_components, resolve_config

TASKS = {
    "classification": Task(kind="classification", num_outputs=3),
    "regression": Task(kind="regression", num_outputs=3),
    "multilabel": Task(kind="multilabel", num_outputs=3),
}
LOSSES = {one.name: one for one in default_registry().components("loss") if one.origin.is_first_party}
TORCHS = {
    "cross_entropy": torch.nn.CrossEntropyLoss,
    "binary_cross_entropy": torch.nn.BCEWithLogitsLoss,
    "mse": torch.nn.MSELoss,
    "huber": torch.nn.HuberLoss,
    "mae": torch.nn.L1Loss,
}
HINGE = '''
import torch
from regplug.losses import LossFunction

class Hinge(LossFunction):
    """Multi-class hinge."""

    tasks = ("classification",)

    def per_sample(self, outputs, targets, settings):
        right = outputs.gather(1, targets.unsqueeze(1))
        return (1 + outputs - right).relu().mean(dim=1)
'''


def outputs_and_targets(task, rows=7):
    generator = torch.Generator().manual_seed(1)
    outputs = 2 * torch.randn((rows, 3), dtype=torch.float64, generator=generator)
    if task == "classification":
        return outputs, torch.randint(3, (rows,), generator=generator)
    if task == "multilabel":
        return outputs, torch.randint(2, (rows, 3), generator=generator).double()
    return outputs, torch.randn((rows, 3), dtype=torch.float64, generator=generator)


def chosen(text, task, registry=None):
    """The loss that a run of a task has which is asked for `text`."""
    return find_components(RunConfig(loss=text), registry or default_registry()).for_task(TASKS[task]).loss


def test_auto_is_the_loss_that_declares_it():
    assert chosen("auto", "classification").registered.name == "cross_entropy"
    assert chosen("auto", "regression").registered.name == "mse"
    assert chosen("auto", "multilabel").registered.name == "binary_cross_entropy"


def test_each_task_has_one_default_of_regplugs_own():
    for task in TASKS:
        assert len([one for one in LOSSES.values() if task in one.component.default_for]) == 1


def test_a_plugin_does_not_displace_the_default():
    registry = default_registry()
    mine = Loss(name="aaa", target="a:b", summary="Mine.", tasks=("regression",), default_for=("regression",))
    stranger = dataclasses.replace(
        registry.find("loss", "mse"),
        component=mine,
        origin=dataclasses.replace(registry.find("loss", "mse").origin, distribution="stranger"),
    )
    both = dataclasses.replace(registry, collected=(stranger, *registry.collected))
    assert chosen("auto", "regression", both).registered.name == "mse"
    alone = default_loss([stranger], "regression")
    assert (alone.registered, str(alone.spec)) == (stranger, "stranger/aaa")
    with pytest.raises(UnknownComponentError, match="No loss is the default for a classification"):
        default_loss([], "classification")


@pytest.mark.parametrize("name", TORCHS)
def test_a_loss_is_torchs_for_each_row_and_in_the_mean(name):
    (task,) = LOSSES[name].component.tasks
    outputs, targets = outputs_and_targets(task)
    ours, settings = build(LOSSES[name], {}), {"delta": torch.tensor(1.0, dtype=torch.float64)}
    each = TORCHS[name](reduction="none")(outputs, targets)
    each = each if each.ndim == 1 else each.mean(dim=1)
    torch.testing.assert_close(ours.per_sample(outputs, targets, settings), each, rtol=1e-14, atol=0)
    mean = ours.mean(outputs, targets, settings)
    torch.testing.assert_close(mean, TORCHS[name]()(outputs, targets), rtol=1e-14, atol=0)


@pytest.mark.parametrize("delta", [0.1, 1.0, 5.0])
def test_huber_has_torchs_gradient_for_every_delta_also_at_the_kink_and_at_zero(delta):
    outputs = torch.tensor([[-9.0, -delta, -0.01, 0.0, 0.01, delta, 9.0]], dtype=torch.float64, requires_grad=True)
    huber, settings = build(LOSSES["huber"], {}), {"delta": torch.tensor(delta, dtype=torch.float64)}
    targets = torch.zeros_like(outputs)
    (ours,) = torch.autograd.grad(huber.mean(outputs, targets, settings), outputs)
    (torchs,) = torch.autograd.grad(F.huber_loss(outputs, targets, delta=delta), outputs)
    torch.testing.assert_close(ours, torchs, rtol=1e-14, atol=1e-16)


def test_half_of_the_squared_error_is_half():
    values, targets = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    assert build(LOSSES["mse"], {}).mean(values, targets, {}) == (1 + 4) / 2
    half = build(LOSSES["half_squared_error"], {})
    assert half.mean(values, targets, {}) == half.per_sample(values, targets, {}) == (1 + 4) / 4


def test_cross_entropy_takes_classes_and_probabilities():
    logits, classes = outputs_and_targets("classification")
    loss = build(LOSSES["cross_entropy"], {})
    soft = F.one_hot(classes, 3).double()
    torch.testing.assert_close(loss.mean(logits, classes, {}), loss.mean(logits, soft, {}))
    torch.testing.assert_close(loss.per_sample(logits, classes, {}), loss.per_sample(logits, soft, {}))


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_for_another_task_is_refused_with_those_that_fit(name):
    (task,) = LOSSES[name].component.tasks
    other = "regression" if task == "classification" else "classification"
    with pytest.raises(ParameterError, match=f"loss={name} is for a {task}, but the dataset is a {other}") as caught:
        chosen(name, other)
    assert chosen("auto", other).registered.name in caught.value.hint


def test_an_unknown_loss_gets_a_suggestion():
    with pytest.raises(UnknownComponentError, match="No loss is named 'cross_entrophy'") as caught:
        chosen("cross_entrophy", "classification")
    assert "cross_entropy" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("huber:delta=0", "delta=0 is not allowed: float, greater than 0"),
        ("huber:detla=1", "detla is unknown. Did you mean delta?"),
        ("mse:delta=1", "delta is unknown: there are no parameters"),
    ],
)
def test_parameters_are_checked_before_torch_is_imported(text, message):
    program = (
        "import sys\nfrom regplug.config import RunConfig\nfrom regplug.errors import ParameterError\n"
        "from regplug.registry import default_registry\nfrom regplug.registry.components import find_components\n"
        "try:\n    find_components(RunConfig(loss=sys.argv[1]), default_registry())\n"
        "except ParameterError as error:\n    print(error.message, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, text], capture_output=True, text=True, check=True)
    assert message in done.stdout
    assert done.stdout.strip().endswith("False")


def test_a_loss_is_written_like_every_component():
    config = load_config(None, ["loss.delta=0.5"], {"loss": "huber"})
    assert resolve_config(config, default_registry()).loss == "huber:delta=0.5"
    assert load_config(None, (), {"loss": {"name": "huber", "delta": 2.0}}).loss == "huber:delta=2.0"
    assert resolve_config(load_config(None, (), {"loss": "auto"}), default_registry()).loss == "auto"
    with pytest.raises(RequestError, match="no loss is chosen"):
        load_config(None, ["loss.delta=0.5"])
    assert load_config(None, (), {"loss": ""}) == load_config(None, (), {})


def test_the_delta_of_huber_reaches_training_and_evaluation():
    fields = {"dataset": toy("regression"), "dtype": "float64", "lr": 0.05}
    made, records = trained(**fields, loss="huber:delta=0.3")
    expected = F.huber_loss(made.outputs("test"), assembled(**fields).data.test.y, delta=0.3)
    assert records[-1].metrics["test/loss"][0] == pytest.approx(float(expected), rel=1e-12)
    other, _ = trained(**fields, loss="huber:delta=3")
    assert greatest_difference(weights(made), weights(other)) > 1e-3


def test_runs_of_different_delta_are_the_same_stacked_and_alone():
    common = {"dataset": toy("regression"), "dtype": "float64", "lr": 0.05, "reg": ["l2", "dropout"]}
    runs = [{"loss": f"huber:delta={delta}", "seed": seed} for seed, delta in enumerate((0.1, 1.0, 10.0))]
    together, told = trained(stack(*runs, **common))
    for number, own in enumerate(runs):
        alone, records = trained(**common, **own)
        assert greatest_difference(weights(together, number), weights(alone)) < 1e-12
        assert told[-1].metrics["test/loss"][number] == pytest.approx(records[-1].metrics["test/loss"][0], rel=1e-12)


def test_your_own_loss_is_named_by_its_path(tmp_path):
    (tmp_path / "hinge.py").write_text(HINGE)
    made, _ = trained(loss=f"{tmp_path}/hinge.py:Hinge")
    assert type(made._program.loss).__name__ == "Hinge"
    with pytest.raises(ParameterError, match="loss=Hinge is for a classification"):
        assembled(loss=f"{tmp_path}/hinge.py:Hinge", dataset=toy("regression"))


def test_a_regularizer_that_softens_targets_refuses_a_loss_of_classes_only(tmp_path):
    (tmp_path / "hinge.py").write_text(HINGE)
    with pytest.raises(CompositionError, match="label_smoothing turns classes into probabilities, but loss=Hinge"):
        assembled(loss=f"{tmp_path}/hinge.py:Hinge", reg=["label_smoothing"])


def test_what_is_no_loss_is_refused_by_name(tmp_path):
    (tmp_path / "none.py").write_text("def near(params):\n    return 3\n")
    with pytest.raises(PluginError, match=r"none.py:near is a int") as caught:
        assembled(loss=f"{tmp_path}/none.py:near")
    assert "LossFunction" in caught.value.hint


def test_the_same_run_by_auto_and_by_name_ends_in_the_same_bits():
    assert_same_bits(weights(trained()[0]), weights(trained(loss="cross_entropy")[0]))
