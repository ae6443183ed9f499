"""Builds rigs: puts a regularizer, with what it requires, into the networks that it accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from regplug.api import Regularizer, Task
from regplug.errors import CompositionError
from regplug.losses import LossFunction
from regplug.registry import Registered, build, default_registry
from regplug.registry.components import default_loss
from regplug.regularization.composition import compose
from regplug.regularization.finding import find_sites
from regplug.regularization.ordering import Entry, resolve_order
from regplug.regularization.own_dropout import KEY as OWN_DROPOUT
from regplug.regularization.own_dropout import OwnDropout, has_own_dropout
from regplug.regularization.structure import restructure
from regplug.regularizer import RegularizerFunctions
from regplug.runs.network import numbers_of
from regplug.seeds import derive_seed
from regplug.sites import Place, Sites
from regplug.testing import bench
from regplug.testing.checking import CheckFailed, CouldNotRun, attempting, expect
from regplug.testing.generators import torch_seeded
from regplug.testing.rig import KEY, Rig
from regplug.testing.subject import Subject, find_subject
from regplug.training.program import Program

EXAMPLE_ROWS = 2
_FEW = 3


def make_rig(
    subject: Subject | None,
    name: str | None = None,
    *,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    values: Mapping[str, Any] | None = None,
    built_with: Mapping[str, Any] | None = None,
    task: Task | None = None,
    left_out: bool = False,
    network: bench.Network | None = None,
) -> Rig:
    """Puts a regularizer into a network.

    Args:
        subject: The regularizer; `None` for the bare network.
        name: The network; `None` for the first that it accepts.
        dtype: Dtype of all tensors.
        seed: Seed of the network's weights.
        values: Its parameters, in addition to those of the subject.
        built_with: Parameters to build it with where they differ from its settings.
        task: What is learned; `None` for the first that it accepts.
        left_out: Whether to insert only the components that the regularizer requires, without itself.
        network: The network of that name; `None` for the one that the kit or the author has under it.

    Raises:
        CheckFailed: It cannot be built or put in.
    """
    name = name or (networks_of(subject)[0] if subject else "mlp")
    network = network or all_networks(subject)[name]
    task = task or network.task(subject.descriptor(Regularizer).tasks[0] if subject else "classification")
    members: dict[str, RegularizerFunctions] = {}
    numbers: dict[str, Mapping[str, Any]] = {}
    if subject is not None:
        functions = subject.build(**(values or {} if built_with is None else built_with))
        expect(isinstance(functions, RegularizerFunctions), f"the target gave a {type(functions).__name__}")
        members, numbers = _with_required(subject, functions)
        numbers[KEY] = numbers_of(subject.params(**(values or {})))
        if left_out:
            del members[KEY], numbers[KEY]
    model = network.built(dtype, seed, activation_of(subject))
    if has_own_dropout(model):
        members = {OWN_DROPOUT: OwnDropout(), **members}
    places = _restructured(model, members, network.inputs(EXAMPLE_ROWS, dtype), numbers, seed)
    model.to(dtype).train()
    program = Program(model=model, regularizer=compose(members), loss=task_loss(task), task=task)
    return Rig(
        functions=members.get(KEY, RegularizerFunctions()),
        program=program,
        places=places,
        settings={**{key: {} for key in members}, **numbers},
        name=name,
        network=network,
        task=task,
        dtype=dtype,
        members=members,
    )


def task_loss(task: Task) -> LossFunction:
    """The installed loss that is the default for a task."""
    chosen = default_loss(default_registry().components("loss"), task.kind)
    return build(chosen.registered, {})  # type: ignore[no-any-return] # a loss of the host's


def networks_of(subject: Subject) -> list[str]:
    """The networks that a regularizer accepts: it may refuse one with a `CompositionError`.

    Raises:
        CheckFailed: It takes none.
    """
    if "networks" not in subject.cache:
        taken: list[str] = []
        refusals: dict[str, str] = {}
        for name in _candidates(subject):
            if name == bench.RESIDUAL[-1] and taken and not subject.descriptor(Regularizer).felt.branches:
                continue
            try:
                rig = make_rig(subject, name)
                rig.program.require_inverses(rig.first_step())
                taken.append(name)
            except CompositionError as error:
                refusals[name] = error.message
        subject.cache["networks"], subject.cache["refusals"] = taken, refusals
    found: list[str] = subject.cache["networks"]
    last = list(subject.cache["refusals"].values())[-1:]
    expect(found, f"it refuses every network of the kit; the last message: {''.join(last)}")
    return found


def rigs_of(subject: Subject) -> Iterator[Rig]:
    """Yields a rig for each network that a regularizer accepts."""
    for name in networks_of(subject):
        yield make_rig(subject, name)


def few_networks_of(subject: Subject) -> list[str]:
    """The first three networks that it accepts and the author's own, for checks that train many times."""
    taken = networks_of(subject)
    return [*taken[:_FEW], *(name for name in taken[_FEW:] if name in subject.networks)]


def _candidates(subject: Subject) -> list[str]:
    """The networks that have what the descriptor requires, and the author's own; the slowest of the kit's are last."""
    descriptor = subject.descriptor(Regularizer)
    names = bench.RESIDUAL if descriptor.felt.branches else sorted(bench.NETWORKS, key=bench.RESIDUAL[-1].__eq__)
    fitting = [*(name for name in names if bench.NETWORKS[name].layout in descriptor.inputs), *subject.networks]
    return [name for name in fitting if not subject.only or name in subject.only]


def activation_of(subject: Subject | None) -> Callable[[], nn.Module]:
    """Creates the activation that a regularizer needs, by default tanh."""
    component = subject.component if subject else None
    if subject is None or not isinstance(component, Regularizer) or not component.felt.activation:
        return nn.Tanh
    return find_subject("activation", component.felt.activation, {}, subject.registry).build


def put_in(subject: Subject, name: str) -> None:
    """Puts a regularizer into a network without seeding: it draws from the global generators."""
    network = all_networks(subject)[name]
    model, functions = network.built(torch.float64, activate=activation_of(subject)), subject.build()
    sites = Sites(model, find_sites(model, network.inputs(EXAMPLE_ROWS)), KEY)
    with attempting("restructure"):
        restructure(functions, sites, {KEY: numbers_of(subject.params())})


def all_networks(subject: Subject | None) -> dict[str, bench.Network]:
    """The networks of the kit and those of the author's own, by name."""
    return {**bench.NETWORKS, **(subject.networks if subject else {})}


def _restructured(
    model: nn.Module,
    members: Mapping[str, RegularizerFunctions],
    example: Tensor,
    settings: Mapping[str, Mapping[str, Any]],
    seed: int,
) -> dict[str, Sequence[Place]]:
    found = find_sites(model, example)
    places: dict[str, Sequence[Place]] = {}
    replaced: dict[nn.Module, nn.Module] = {}
    for key, functions in members.items():
        sites = Sites(model, found, key, replaced)
        try:
            # As the host does it: new weights start from the run's seed.
            with attempting("restructure"), torch_seeded(derive_seed(seed, "init", key)):
                places[key] = restructure(functions, sites, settings)
        except CheckFailed as error:
            if isinstance(error.__cause__, CompositionError):
                raise error.__cause__ from None
            raise
        if key == OWN_DROPOUT:
            found = find_sites(model, example)
    return places


def _with_required(
    subject: Subject, functions: RegularizerFunctions
) -> tuple[dict[str, RegularizerFunctions], dict[str, Mapping[str, Any]]]:
    """The regularizer and one companion for each word that it requires, in their order."""
    descriptor = subject.descriptor(Regularizer)
    entries = [Entry(key=KEY, descriptor=descriptor)]
    members: dict[str, RegularizerFunctions] = {KEY: functions}
    numbers: dict[str, Mapping[str, Any]] = {}
    for word in (*descriptor.requires, *descriptor.felt.companions):
        registered = _found_by(subject, word)
        companion = find_subject("regularizer", registered, {}, subject.registry)
        entries.append(Entry(key=registered.name, descriptor=companion.descriptor(Regularizer)))
        members[registered.name] = companion.build()
        numbers[registered.name] = numbers_of(companion.params())
    order = [placed.key for placed in resolve_order(entries)]
    return {key: members[key] for key in order}, numbers


def _found_by(subject: Subject, word: str) -> Registered:
    for one in subject.registry.components("regularizer"):
        if word in (one.name, *one.component.tags) and one.name != subject.component.name:
            return one
    raise CouldNotRun(f"it requires {word}, but no installed regularizer is one")
