"""The training of one run by itself, and the model that it ends with."""

from __future__ import annotations

import copy

from torch import nn

from regplug.data.units import in_units
from regplug.measuring.probing import Probing
from regplug.regularization.settling import settle
from regplug.runs.assembly import Assembly
from regplug.runs.loading import pools_of
from regplug.training.course import Pools
from regplug.training.ensemble import as_one
from regplug.training.loop import Trainer
from regplug.training.tensors import restore_tensors


def trainer_of(made: Assembly, *, probed: bool = False) -> Trainer:
    """Returns the trainer of a single run.

    Args:
        made: Everything that it needs.
        probed: Whether probes will look at it.
    """
    train, valid, test = pools_of(made.data)
    return Trainer(
        program=made.program,
        rule=made.rule,
        runs=[made.inputs],
        pools=Pools(train=train, valid=valid, test=test),
        course=made.course,
        places=made.network.places,
        stacked=False,
        probed=probed,
    )


def probing_of(made: Assembly) -> Probing:
    """Returns new probes of a run."""
    return Probing({chosen.spec.key: chosen.build() for chosen in made.components.probes})


def trained_model(trainer: Trainer, made: Assembly, run: int = 0) -> nn.Module:
    """Returns the network that a run ended with, or its networks as one, made of ordinary modules; on the CPU.

    Args:
        trainer: A trainer that has finished.
        made: What it trained; its model is changed. For a run of a stack, the same run assembled on its own.
        run: Index of the run in the stack.
    """
    networks = trainer.networks_of(run)
    trained = iter(networks)

    def make() -> nn.Module:
        model = made.program.model if len(networks) == 1 else copy.deepcopy(made.program.model)
        restore_tensors(model, *next(trained))
        for name in made.network.untrained:
            model.get_parameter(name).requires_grad_(True)
        return settle(model, made.network.final_settings)

    model = as_one(make, len(networks), made.data.task.kind)
    return in_units(model, made.data.units).cpu().eval()
