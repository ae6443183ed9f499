"""Losses: which, for what, and their convention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from regplug.api import Task
from regplug.errors import ParameterError
from regplug.training.losses import LOSSES, make_loss

CLASSES = Task(kind="classification", num_outputs=3)
VALUES = Task(kind="regression", num_outputs=2)


def test_auto_is_cross_entropy_for_classes_and_the_squared_error_for_values():
    assert make_loss("auto", CLASSES).name == "cross_entropy"
    assert make_loss("auto", VALUES).name == "mse"


def test_half_of_the_squared_error_is_half():
    values, targets = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    assert make_loss("mse", VALUES).mean(values, targets) == (1 + 4) / 2
    assert make_loss("half_squared_error", VALUES).mean(values, targets) == (1 + 4) / 4


def test_huber_is_torchs():
    values, targets = torch.tensor([[1.0, 9.0]]), torch.tensor([[0.5, 4.0]])
    assert make_loss("huber", VALUES).mean(values, targets) == F.huber_loss(values, targets)


def test_cross_entropy_takes_classes_and_probabilities():
    logits, classes = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    mean = make_loss("cross_entropy", CLASSES).mean
    torch.testing.assert_close(mean(logits, classes), mean(logits, F.one_hot(classes, 3).float()))


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_for_another_task_is_refused_with_those_that_fit(name):
    other = VALUES if LOSSES[name].task == "classification" else CLASSES
    with pytest.raises(ParameterError, match=f"loss={name} is for a {LOSSES[name].task}") as caught:
        make_loss(name, other)
    assert make_loss("auto", other).name in caught.value.hint


def test_an_unknown_loss_gets_a_suggestion():
    with pytest.raises(ParameterError, match="cross_entropy"):
        make_loss("cross_entrophy", CLASSES)
