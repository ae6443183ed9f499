"""Bugs of activations, initializers, probes, formats, and of descriptors of any kind."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from kit_mutants import bug
from torch import nn

from regplug.probes import Probe
from regplug.regularizer import RegularizerFunctions
from regplug_formats.pt2 import Pt2

ACTIVATION = {"kind": "activation", "derivative": f"{__name__}:relu_slope", "range": (0, math.inf), "kinks": (0,)}


def relu_slope(params, x):
    return (x > 0).to(x.dtype)


def tanh_slope(params, x):
    return 1 - torch.tanh(x)


@bug("declared_derivative_is_true", kind="activation", derivative=f"{__name__}:tanh_slope", range=(-1, 1))
def wrong_derivative(params):
    return nn.Tanh()


@bug("kinks_are_true", kind="activation", range=(0, math.inf))
def undeclared_kink(params):
    return nn.ReLU()


@bug("kinks_are_true", kind="activation", range=(-1, 1), kinks=(0.5,))
def kink_that_is_none(params):
    return nn.Tanh()


@bug("range_is_true", kind="activation", range=(0, 1))
def wrong_range(params):
    return nn.Tanh()


@bug("range_is_true", kind="activation", range=(-2, 2))
def range_too_wide(params):
    return nn.Tanh()


@bug("gain_is_true", kind="activation", range=(-1, 1), gain=1.0)
def wrong_gain(params):
    return nn.Tanh()


@bug("keeps_dtype_and_input", **ACTIVATION)
def in_place_activation(params):
    return nn.ReLU(inplace=True)


@bug("acts_on_each_entry_alone", kind="activation", range=(0, 1))
def softmax_as_activation(params):
    return nn.Softmax(-1)


class Overflowing(nn.Module):
    def forward(self, x):
        return torch.where(x > 20, x, torch.log1p(torch.exp(x)))


@bug("is_finite_far_out", kind="activation", range=(0, math.inf))
def softplus_with_nan_gradient(params):
    return Overflowing()


@bug("is_the_same_in_training", kind="activation", kinks=(0,))
def random_activation(params):
    return nn.RReLU()


SHARED = nn.Tanh()


@bug("each_call_makes_a_module", kind="activation", range=(-1, 1))
def one_module_for_all(params):
    return SHARED


@bug("generator_decides", kind="initializer")
def ignores_the_generator(params, role, tensor, generator):
    if role == "weight":
        tensor.copy_(torch.linspace(-1, 1, tensor.numel()).view(tensor.shape))


@bug("generator_decides", kind="initializer")
def draws_globally(params, role, tensor, generator):
    nn.init.normal_(tensor)


@bug("fills_with_finite_numbers", kind="initializer")
def divides_by_a_missing_fan(params, role, tensor, generator):
    tensor.normal_(generator=generator).div_(math.sqrt(2) if tensor.ndim > 1 else 0.0)


@bug("generator_decides_batch_start", kind="initializer", sees_batch=True)
def draws_globally_for_all_layers(params, layers, batch, generator):
    for layer in layers:
        for weight in layer.weights:
            weight.copy_(torch.rand(weight.shape))


@bug("batch_start_is_finite", kind="initializer", sees_batch=True)
def divides_by_a_centred_mean(params, layers, batch, generator):
    for layer in layers:
        for tensor in layer.params.values():
            tensor.normal_(generator=generator).div_((batch - batch).sum())


@bug("changes_only_its_layers", kind="initializer", sees_batch=True)
def fills_the_whole_model(params, layers, batch, generator):
    for tensor in layers[0].model.parameters():
        tensor.normal_(generator=generator)


class Look(Probe):
    def __init__(self, params):
        pass

    def measure(self, view):
        return {"look/first": float(next(iter(view.params.values())).flatten()[0])}


@bug("measuring_changes_nothing", kind="probe")
class WritesTheWeightsItSees(Look):
    def measure(self, view):
        return {"look/norm": float(next(iter(view.params.values())).mul_(0.5).norm())}


@bug("measures_finite_numbers", kind="probe")
class NameWithoutPrefix(Look):
    def measure(self, view):
        return {"norm": 1.0}


@bug("measures_finite_numbers", kind="probe")
class GivesATensor(Look):
    def measure(self, view):
        return {"look/norm": next(iter(view.params.values())).norm()}


@bug("measuring_twice_gives_the_same", kind="probe")
class CountsItsLooks(Look):
    looks = 0

    def measure(self, view):
        self.looks += 1
        return {"look/times": float(self.looks)}


@bug("file_is_the_network", kind="format", filename="moved.pt2")
class FileOfOtherWeights(Pt2):
    def write(self, captured, path, manifest):
        next(iter(captured.program.state_dict.values())).data.add_(0.01)
        super().write(captured, path, manifest)


@bug("file_is_the_network", kind="format", filename="random.pt2")
class AnswersAtRandom(Pt2):
    def open(self, path, *, optimised):
        run = super().open(path, optimised=optimised)
        return lambda rows: run(rows) + np.float32(np.random.rand())  # noqa: NPY002 - the bug


@bug("filename_is_its_own", kind="format", filename="model.onnx")
class FileOfAnother(Pt2):
    pass


@dataclass(frozen=True)
class OutOfItsOwnBounds:
    share: Annotated[float, Ge(0)] = -1.0
    "The default is not allowed."


@bug("defaults_are_allowed", params=OutOfItsOwnBounds)
class DefaultOutOfBounds(RegularizerFunctions):
    pass


@dataclass(frozen=True)
class Unenforced:
    shares: Annotated[tuple[float, ...], Ge(0)] = (0.5,)
    "A bound on the tuple, where it holds for nothing, instead of on its entries."


@bug("bounds_hold", params=Unenforced)
class BoundNotEnforced(RegularizerFunctions):
    pass


@dataclass(frozen=True)
class NotJson:
    values: frozenset = field(default_factory=lambda: frozenset({1}))
    "A set is no JSON."


@bug("parameters_survive_json", params=NotJson)
class ParametersNotJson(RegularizerFunctions):
    pass


@bug("target_resolves", target="kit_mutants_kinds:NoSuchThing")
class TargetOfNothing(RegularizerFunctions):
    pass


@bug("name_can_be_typed", name="My-Reg")
class NameWithDash(RegularizerFunctions):
    pass


@bug("name_is_not_reserved", name="dropout")
class TakesAFirstPartyName(RegularizerFunctions):
    pass


@bug("building_leaves_generators_alone")
class SeedsWhenBuilt(RegularizerFunctions):
    def __init__(self, params):
        super().__init__(params)
        torch.manual_seed(0)


@bug("building_leaves_generators_alone")
class DrawsFromNumpyWhenBuilt(RegularizerFunctions):
    def __init__(self, params):
        super().__init__(params)
        self.offset = float(np.random.rand())  # noqa: NPY002 - the bug


@bug("defaults_build")
class FailsWhenBuilt(RegularizerFunctions):
    def __init__(self, params):
        raise RuntimeError("not today")


@bug("composition_is_judged")
class ChecksByText(RegularizerFunctions):
    def check(self, context):
        yield "I do not like this context."


@bug("is_a_regularizer")
class SpellsItsFunctionWrong(RegularizerFunctions):
    def pentalty(self, step, weights, outputs):
        return outputs.logits.square().mean()


@bug("is_a_regularizer")
def no_regularizer(params):
    return {"penalty": 1}
