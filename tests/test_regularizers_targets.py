"""Losses by class, self-paced learning, and teachers, against their equations."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from by_hand import assert_same_as_by_hand
from torch import nn
from torchvision.ops import sigmoid_focal_loss
from trainings import assembled, step, toy

from regplug.api import Loss, Task
from regplug.errors import CompositionError
from regplug.losses import LossFunction
from regplug.regularizer import Batch, Outputs, Shapes
from regplug_regularizers.targets import (
    CurriculumParams,
    LabelNoiseCorrectionParams,
    MeanTeacherParams,
    TemporalEnsemblingParams,
)
from regplug_regularizers.targets.consistency import ramp_up
from regplug_regularizers.targets.curriculum import Curriculum
from regplug_regularizers.targets.focal import Focal
from regplug_regularizers.targets.generalized_cross_entropy import GeneralizedCrossEntropy
from regplug_regularizers.targets.label_noise_correction import LabelNoiseCorrection
from regplug_regularizers.targets.mean_teacher import MeanTeacher
from regplug_regularizers.targets.poly import Poly
from regplug_regularizers.targets.r_drop import symmetric_divergence
from regplug_regularizers.targets.temporal_ensembling import TemporalEnsembling

LOGITS = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3
P = LOGITS.softmax(1)[torch.arange(12), Y]
SOFT = torch.rand(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
SOFT = SOFT / SOFT.sum(1, keepdim=True)
SHAPES = Shapes(x=(4, 5), y=(4,), outputs=(4, 3), weights={}, params={}, rows=12)
LOSS_FORMS = {
    "focal": (Focal(), "gamma", 2.0),
    "poly": (Poly(), "epsilon", 2.0),
    "generalized_cross_entropy": (GeneralizedCrossEntropy(), "q", 0.7),
    "label_noise_correction": (LabelNoiseCorrection(LabelNoiseCorrectionParams()), "flip_probability", 0.3),
}
"""Name -> functions, their number, and a value of it."""


def losses_of(functions, settings, y=Y, logits=LOGITS, state=None):
    """The loss of each row, which without a regularizer is its cross entropy."""
    at = step(settings, state=state)
    at.batch = Batch(logits, y, y, torch.arange(len(y)))
    cross_entropy = F.cross_entropy(logits, y, reduction="none")
    return functions.sample_losses(at, cross_entropy, Outputs(logits, {}, {}))


def test_the_focal_loss_is_its_equation_and_torchvisions_of_two_classes():
    torch.testing.assert_close(losses_of(Focal(), {"gamma": 2.0}), -((1 - P) ** 2) * P.log())
    two = torch.stack([torch.zeros(12).double(), LOGITS[:, 0]], 1)
    theirs = sigmoid_focal_loss(LOGITS[:, 0], (Y % 2).double(), alpha=-1, gamma=1.5)
    torch.testing.assert_close(losses_of(Focal(), {"gamma": 1.5}, Y % 2, two), theirs)


def test_poly_1_is_its_equation():
    torch.testing.assert_close(losses_of(Poly(), {"epsilon": 2.0}), -P.log() + 2 * (1 - P))


def test_the_generalized_cross_entropy_goes_from_cross_entropy_to_one_minus_the_probability():
    cross_entropy = F.cross_entropy(LOGITS, Y, reduction="none")
    got = {q: losses_of(GeneralizedCrossEntropy(), {"q": q}) for q in (0.0, 1e-9, 0.7, 1.0)}
    assert torch.equal(got[0.0], cross_entropy)
    torch.testing.assert_close(got[1e-9], cross_entropy, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(got[0.7], (1 - P**0.7) / 0.7)
    torch.testing.assert_close(got[1.0], 1 - P)


def test_the_forward_correction_is_the_cross_entropy_of_outputs_through_the_matrix():
    matrix = (0.7, 0.2, 0.1, 0.0, 0.9, 0.1, 0.3, 0.3, 0.4)
    functions = LabelNoiseCorrection(LabelNoiseCorrectionParams(matrix=matrix))
    through = LOGITS.softmax(1) @ torch.tensor(matrix, dtype=torch.float64).view(3, 3)
    torch.testing.assert_close(losses_of(functions, {"flip_probability": 0.2}), -through[torch.arange(12), Y].log())
    flips = losses_of(LabelNoiseCorrection(LabelNoiseCorrectionParams()), {"flip_probability": 0.2})
    torch.testing.assert_close(flips, -(0.8 * P + 0.1 * (1 - P)).log())


def test_without_noise_the_forward_correction_changes_no_bit():
    identity = LabelNoiseCorrection(LabelNoiseCorrectionParams(matrix=(1.0, 0, 0, 0, 1, 0, 0, 0, 1)))
    cross_entropy = F.cross_entropy(LOGITS, Y, reduction="none")
    assert torch.equal(losses_of(identity, {"flip_probability": 0.2}), cross_entropy)


@pytest.mark.parametrize(
    ("reg", "message"),
    [
        ("label_noise_correction:matrix=[0.5,0.5,0.5,0.5]", "matrix has 4 numbers, and 3 classes need 3 rows of 3"),
        ("label_noise_correction:flip_probability=0.7", "says nothing of the true class"),
    ],
)
def test_noise_that_is_none_for_the_task_is_refused(reg, message):
    with pytest.raises(CompositionError, match=message):
        assembled(reg=[reg])


@pytest.mark.parametrize("name", LOSS_FORMS)
def test_soft_targets_cost_the_mixture_of_what_their_classes_cost(name):
    """So label smoothing and mixup compose with each of them as they do with cross entropy."""
    functions, parameter, value = LOSS_FORMS[name]
    by_class = [losses_of(functions, {parameter: value}, torch.full((12,), label)) for label in range(3)]
    expected = (SOFT * torch.stack(by_class, 1)).sum(1)
    torch.testing.assert_close(losses_of(functions, {parameter: value}, SOFT), expected)


@pytest.mark.parametrize("name", LOSS_FORMS)
def test_a_row_that_is_certain_has_finite_losses_and_gradients(name):
    functions, parameter, _ = LOSS_FORMS[name]
    logits = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    for label in range(3):
        loss = losses_of(functions, {parameter: 0.5}, torch.tensor([label]), logits).sum()
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


def test_focal_with_label_smoothing_is_a_loop_by_hand():
    def by_hand(model, made):
        def loss(logits, y):
            soft = 0.9 * F.one_hot(y, 3).double() + 0.1 / 3
            log_p = logits.log_softmax(1)
            return -(soft * (1 - log_p.exp()) ** 2 * log_p).sum(1).mean()

        return loss

    assert_same_as_by_hand({"reg": ["focal", "label_smoothing:strength=0.1"]}, loss=by_hand)


def test_two_forms_of_the_loss_refuse_each_other():
    with pytest.raises(CompositionError, match=r"focal refuses loss-form, and poly is one(.|\n)*poly refuses"):
        assembled(reg=["focal", "poly"])


@pytest.mark.parametrize("name", LOSS_FORMS)
def test_a_form_of_the_cross_entropy_refuses_another_loss_and_a_regression(name):
    with pytest.raises(CompositionError, match=f"{name} changes the cross entropy, and the loss is margins"):
        assembled(reg=[name], loss=Loss(name="margins", target=f"{__name__}:Margins", summary="", tasks=CLASSES))
    with pytest.raises(CompositionError, match=f"{name} is for classification"):
        assembled(dataset=toy("regression"), reg=[name])


CLASSES = ("classification",)


class Margins(LossFunction):
    """Another loss of classes."""

    def per_sample(self, outputs, targets, settings):
        return F.multi_margin_loss(outputs, targets, reduction="none")


# Curriculum.


def test_a_curriculum_counts_the_rows_below_a_threshold_that_grows():
    functions, params = Curriculum(CurriculumParams()), {"w": torch.zeros(1, dtype=torch.float64)}
    losses = F.cross_entropy(LOGITS, Y, reduction="none")
    numbers, state = {"threshold": 0.8, "growth": 1.5}, functions.init(SHAPES, params, {})
    for epoch in range(3):
        got = losses_of(functions, numbers, state=state)
        assert torch.equal(got, torch.where(losses < 0.8 * 1.5**epoch, losses, 0.0))
        state = functions.after_epoch(step(numbers, epoch=epoch + 1, state=state), {}, params, {}).state


# Teachers.


def test_the_weight_of_consistency_rises_as_published():
    assert ramp_up(0.0, 0.25) == math.exp(-5)
    assert ramp_up(0.125, 0.25) == pytest.approx(math.exp(-1.25))
    assert ramp_up(0.25, 0.25) == ramp_up(1.0, 0.25) == 1


def test_the_mean_teacher_is_the_recursion():
    functions = MeanTeacher(MeanTeacherParams())
    weights = [torch.tensor([float(n)], dtype=torch.float64) for n in range(5)]
    state = functions.init(SHAPES, {"w": weights[0]}, {})
    expected = weights[0]
    for value in weights[1:]:
        params, state = functions.after_step(step({"decay": 0.9}, state=state), {"w": value})
        expected = 0.9 * expected + 0.1 * value
        assert torch.equal(params["w"], value)
        torch.testing.assert_close(state["w"], expected)
    assert functions.finalize(step(state=state), {"w": value}, {}, ())[0] is state


def test_temporal_ensembling_is_held_to_the_average_of_the_epochs_before_without_its_bias():
    functions = TemporalEnsembling(TemporalEnsemblingParams())
    numbers = {"strength": 1.0, "momentum": 0.6}
    rows, logits = torch.tensor([3, 0]), torch.zeros(2, 3, dtype=torch.float64)
    outputs, params = Outputs(logits, {}, {}), {"w": torch.zeros(1, dtype=torch.float64)}
    state = functions.init(SHAPES, params, {})
    assert state["average"].shape == (12, 3)
    assert functions.penalty(step(numbers, state=state), {}, outputs) is None
    for epoch in (1, 2):
        at = step(numbers, state=state, epoch=epoch - 1)
        at.batch, at.outputs = Batch(logits, rows, rows, rows), outputs
        _, state = functions.after_step(at, params)
        now = step(numbers, state=state, epoch=epoch)
        now.batch = Batch(logits, rows, rows, rows)
        # The same outputs in each epoch: the target is those outputs from the first epoch on.
        assert float(functions.penalty(now, {}, outputs)) == pytest.approx(0, abs=1e-30)
        other = Outputs(torch.tensor([[1.0, 0, 0]] * 2).double(), {}, {})
        expected = ((other.logits.softmax(1) - 1 / 3) ** 2).mean() * ramp_up(epoch / 10, 0.25)
        torch.testing.assert_close(functions.penalty(now, {}, other), expected)


def test_the_distance_of_a_regression_is_that_of_its_values():
    functions = TemporalEnsembling(TemporalEnsemblingParams())
    values = torch.tensor([[2.0, 4.0]], dtype=torch.float64)
    task, rows = Task(kind="regression", num_outputs=2), torch.tensor([0])
    state = {"average": 0.4 * torch.tensor([[1.0, 1.0]], dtype=torch.float64)}
    at = step({"strength": 1.0, "momentum": 0.6}, state=state, epoch=1, epochs=1, task=task)
    at.batch = Batch(values, values, values, rows)
    assert float(functions.penalty(at, {}, Outputs(values, {}, {}))) == pytest.approx((1 + 9) / 2)


def test_a_blend_of_rows_has_no_past():
    with pytest.raises(CompositionError, match="temporal_ensembling refuses mixing, and mixup is one"):
        assembled(reg=["temporal_ensembling", "mixup"])


def test_r_drop_adds_torchs_divergence_in_both_directions():
    other = LOGITS.flip(0)
    log_p, log_q = LOGITS.log_softmax(1), other.log_softmax(1)
    both = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    both = both + F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
    torch.testing.assert_close(symmetric_divergence(LOGITS, other), both / 2)


@pytest.mark.parametrize(
    "others", [[], ["input_noise"], ["spectral_norm"]], ids=["alone", "noise on inputs", "a layer"]
)
def test_r_drop_is_refused_where_no_layer_draws_a_mask(others):
    with pytest.raises(CompositionError, match="but no layer of the model draws any: the passes are equal"):
        assembled(reg=["r_drop", *others])


@pytest.mark.parametrize("other", ["dropout", "dropconnect"])
def test_r_drop_takes_any_layer_that_draws(other):
    assert not assembled(reg=["r_drop", other]).network.notices


def test_r_drop_takes_a_model_with_dropout_of_its_own():
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 3))
    assert not assembled(model=model, reg=["r_drop"]).network.notices


def test_r_drop_with_masks_that_drop_nothing_is_the_run_without_it():
    assert_same_as_by_hand({"reg": ["r_drop:strength=3", "dropout:drop_probability=0"]})
