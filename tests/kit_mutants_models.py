"""Bugs of models and datasets."""

from __future__ import annotations

import itertools
import math
import socket

import numpy as np
import torch
from kit_mutants import bug
from torch import nn

from regplug.api import Task
from regplug.data import InputSpec, RawData, Split


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
