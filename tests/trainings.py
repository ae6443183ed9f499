"""Trainers for tests, assembled as a run assembles them: small data, small networks."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import nn

from regplug.api import Task
from regplug.config import load_config
from regplug.data import InputSpec, RawData, Split
from regplug.registry import default_registry
from regplug.registry.components import find_components, resolve_config
from regplug.regularizer import Clock, Step
from regplug.runs.assembly import assemble
from regplug.runs.caller_objects import take_over
from regplug.runs.loading import load_data, pools_of
from regplug.training.course import Pools
from regplug.training.loop import Trainer


@functools.cache
def toy(kind="classification", train_rows=104, features=8, seed=0):
    """Rows of a noisy linear function, or of its three classes or labels; no batch size divides the training split."""
    generator = np.random.default_rng(seed)
    truth_FK = generator.standard_normal((features, 3))

    def split(rows):
        x = generator.standard_normal((rows, features)).astype(np.float32)
        values = (x @ truth_FK + 0.5 * generator.standard_normal((rows, 3))).astype(np.float32)
        targets = {"classification": values.argmax(1), "multilabel": (values > 0).astype(np.float32)}
        return Split(x=x, y=targets.get(kind, values))

    return RawData(
        name=f"toy_{kind}",
        train=split(train_rows),
        valid=split(48),
        test=split(56),
        task=Task(kind=kind, num_outputs=3, class_names=() if kind == "regression" else ("a", "b", "c")),
        inputs=InputSpec(layout="row", shape=(features,), dtype="float32"),
    )


class NormedNet(nn.Module):
    """One hidden layer with batch normalization."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.act, self.output = nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)

    def forward(self, x):
        return self.output(self.act(self.norm(self.first(x))))


DEFAULTS = {"model": "mlp:hidden=[16,12]", "epochs": 3, "batch_size": 32, "lr": 0.2, "probe": ()}


def assembled(**fields):
    """What a run of these fields would train; on toy classes unless a dataset is named."""
    fields = {**DEFAULTS, "dataset": toy(), **fields}
    flags, registry = take_over(fields, default_registry())
    config = resolve_config(load_config(None, (), flags), registry)
    components = find_components(config, registry)
    return assemble(config, components, load_data(config, components))


def trainer(**fields):
    """One run's trainer."""
    return trainer_of(assembled(**fields))


def trainer_of(made):
    """The trainer of one run that is assembled."""
    return _trainer([made], stacked=False)


def stack(*runs, **common):
    """One trainer of many runs, each of the common fields and its own."""
    return stack_of(*(assembled(**{**common, **own}) for own in runs))


def stack_of(*made):
    """One trainer of many runs that are assembled."""
    return _trainer(made, stacked=True)


def _trainer(made, *, stacked):
    train, valid, test = pools_of(made[0].data)
    return Trainer(
        program=made[0].program,
        rule=made[0].rule,
        runs=[one.inputs for one in made],
        pools=Pools(train=train, valid=valid, test=test),
        course=made[0].course,
        places=made[0].network.places,
        stacked=stacked,
    )


def trained(made=None, /, **fields):
    """A trainer that went all the way, and its records."""
    made = made or trainer(**fields)
    records = list(made.train())
    made.finish()
    return made, records


def weights(made, run=0):
    """Everything that a run has learned, copied."""
    params, buffers = made.tensors_of(run)
    return {name: value.detach().clone() for name, value in {**params, **buffers}.items()}


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    differing = [name for name, value in first.items() if not torch.equal(value, second[name])]
    assert differing == []


def greatest_difference(first, second, *, relative=False):
    """The greatest difference of any entry; relative to the greatest entry of its tensor."""
    assert first.keys() == second.keys()
    return max(
        float((value.double() - second[name].double()).abs().max())
        / (max(1e-30, float(second[name].double().abs().max())) if relative else 1.0)
        for name, value in first.items()
    )


class WithoutModel:
    """Stands for the model in a test of a function by itself: there are no batch statistics to recompute."""

    def recompute_statistics(self, step, params, buffers, batches):
        return buffers


def step(settings=None, noise=None, *, epoch=0, epochs=10, task=None, roles=None, state=None):
    """The step that one regularizer's functions get; numbers become float64 tensors."""
    return Step(
        {name: torch.tensor(value, dtype=torch.float64) for name, value in (settings or {}).items()},
        noise or {},
        Clock(
            index=0,
            count=100,
            epoch=epoch,
            epochs=epochs,
            task=task or Task(kind="classification", num_outputs=3, class_names=("a", "b", "c")),
            roles=roles or {},
        ),
        state=state,
        passes=WithoutModel(),
    )
