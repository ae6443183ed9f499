"""Bugs of activations, models, datasets, initializers, probes, formats, and of descriptors of any kind."""

from __future__ import annotations

import itertools
import math
import socket
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from kit_mutants import bug
from torch import nn

from regplug.api import Task
from regplug.data import InputSpec, RawData, Split
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


def features(context):
    return math.prod(context.input_shape)


@bug("every_parameter_gets_a_gradient", kind="model")
class UnusedLayer(nn.Module):
    def __init__(self, params, context):
        super().__init__()
        self.output = nn.Linear(features(context), context.task.num_outputs)
        self.forgotten = nn.Linear(4, 4)

    def forward(self, x):
        return self.output(x.flatten(1))


@bug("seed_decides_the_weights", kind="model")
def seeds_itself(params, context):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(features(context), context.task.num_outputs))


@bug("building_leaves_generators_alone", kind="model")
def reseeds_when_built(params, context):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(features(context), context.task.num_outputs))


@bug("gives_one_row_for_each_input", kind="model")
class SqueezesOneRow(UnusedLayer):
    def forward(self, x):
        return self.output(x.flatten(1)).squeeze()


@bug("gives_one_row_for_each_input", kind="model")
def outputs_of_its_own(params, context):
    return nn.Sequential(nn.Flatten(), nn.Linear(features(context), 10))


@bug("overfits_sixteen_rows", kind="model")
def saturated(params, context):
    layer = nn.Linear(features(context), 64)
    nn.init.constant_(layer.weight, 100.0)
    return nn.Sequential(nn.Flatten(), layer, nn.Sigmoid(), nn.Linear(64, context.task.num_outputs), nn.Sigmoid())


@bug("exports_with_torch_export", kind="model")
class FixedBatch(UnusedLayer):
    def forward(self, x):
        rows = int(x.flatten(1).shape[0])
        return self.output(x.flatten(1)) if rows != 3 else self.output(x.view(3, -1))


@bug("state_dict_holds_all", kind="model")
class MeanAsAnAttribute(UnusedLayer):
    mean = 0.0

    def forward(self, x):
        if self.training:
            self.mean = float(x.mean())
        return self.output(x.flatten(1) - self.mean)


@bug("rows_are_independent_in_evaluation", kind="model")
class NormalisesTheBatch(UnusedLayer):
    def forward(self, x):
        return self.output(x.flatten(1) - x.flatten(1).mean(0))


def table(x, y, rows=(60, 20, 20)):
    """Rows of a table in three splits, in their order."""
    ends = np.cumsum((0, *rows))
    train, valid, test = (Split(x=x[a:b], y=y[a:b]) for a, b in itertools.pairwise(ends))
    return RawData(
        name="planted",
        train=train,
        valid=valid,
        test=test,
        task=Task(kind="classification", num_outputs=3),
        inputs=InputSpec(layout="row", shape=(4,), dtype="float32"),
    )


def rows(seed, number=100):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((number, 4)).astype(np.float32) + 3, generator.integers(0, 3, number)


@bug("splits_are_disjoint", kind="dataset", task="classification")
def splits_overlap(params, context):
    x, y = rows(context.data_seed)
    x[80:], y[80:] = x[:20], y[:20]
    return table(x, y)


@bug("statistics_are_those_of_training", kind="dataset", task="classification")
def statistics_from_test_rows(params, context):
    x, y = rows(context.data_seed)
    return table((x - x.mean(0)) / x.std(0), y)


@bug("seed_decides_the_split", kind="dataset", task="classification")
def split_from_the_global_generator(params, context):
    x, y = rows(context.data_seed)
    order = np.random.permutation(100)  # noqa: NPY002 - the bug
    return table(x[order], y[order])


@bug("fits_what_it_declares", kind="dataset", task="classification")
def labels_from_one(params, context):
    x, y = rows(context.data_seed)
    return table(x, y + 1)


@bug("fits_what_it_declares", kind="dataset", task="regression")
def another_task(params, context):
    return table(*rows(context.data_seed))


@bug("is_offline_once_cached", kind="dataset", task="classification")
def asks_the_network(params, context):
    try:
        socket.getaddrinfo("localhost", 80)
    except ConnectionError as error:
        raise OSError("no data without the server") from error
    return table(*rows(context.data_seed))


class Unpicklable(RawData):
    def __reduce__(self):
        raise TypeError("not me")


@bug("can_be_pickled", kind="dataset", task="classification")
def cannot_be_pickled(params, context):
    made = table(*rows(context.data_seed))
    return Unpicklable(**vars(made))


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


@bug("defaults_are_allowed", phases=(), params=OutOfItsOwnBounds)
class DefaultOutOfBounds(RegularizerFunctions):
    pass


@dataclass(frozen=True)
class Unenforced:
    shares: Annotated[tuple[float, ...], Ge(0)] = (0.5,)
    "A bound on the tuple, where it holds for nothing, instead of on its entries."


@bug("bounds_hold", phases=(), params=Unenforced)
class BoundNotEnforced(RegularizerFunctions):
    pass


@dataclass(frozen=True)
class NotJson:
    values: frozenset = field(default_factory=lambda: frozenset({1}))
    "A set is no JSON."


@bug("parameters_survive_json", phases=(), params=NotJson)
class ParametersNotJson(RegularizerFunctions):
    pass


@bug("target_resolves", phases=(), target="kit_mutants_kinds:NoSuchThing")
class TargetOfNothing(RegularizerFunctions):
    pass


@bug("name_can_be_typed", phases=(), name="My-Reg")
class NameWithDash(RegularizerFunctions):
    pass


@bug("name_is_not_reserved", phases=(), name="dropout")
class TakesAFirstPartyName(RegularizerFunctions):
    pass


@bug("building_leaves_generators_alone", phases=())
class SeedsWhenBuilt(RegularizerFunctions):
    def __init__(self, params):
        super().__init__(params)
        torch.manual_seed(0)


@bug("building_leaves_generators_alone", phases=())
class DrawsFromNumpyWhenBuilt(RegularizerFunctions):
    def __init__(self, params):
        super().__init__(params)
        self.offset = float(np.random.rand())  # noqa: NPY002 - the bug


@bug("defaults_build", phases=())
class FailsWhenBuilt(RegularizerFunctions):
    def __init__(self, params):
        raise RuntimeError("not today")


@bug("is_a_regularizer", phases=())
def no_regularizer(params):
    return {"penalty": 1}
