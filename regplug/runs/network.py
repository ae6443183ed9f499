"""Builds a run's network: the model is built, initialised, and restructured by its regularizers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regplug.api import ModelContext
from regplug.config import RunConfig
from regplug.config.ramps import Ramp, last_value
from regplug.data import Prepared
from regplug.data.altering import repetition_note
from regplug.errors import ModelError, PluginError
from regplug.registry.components import Components
from regplug.registry.faults import is_fault, told
from regplug.regularization.cancelled_biases import cancelled_biases
from regplug.regularization.compatibility import find_notices
from regplug.regularization.composition import Composition, compose
from regplug.regularization.finding import find_sites
from regplug.regularization.ordering import Entry, Placed, check_composition, resolve_order, taking_turns
from regplug.regularization.own_dropout import KEY as OWN_DROPOUT
from regplug.regularization.own_dropout import OwnDropout, has_own_dropout
from regplug.regularization.row_weights import KEY as ROW_WEIGHTS
from regplug.regularization.row_weights import RowWeights
from regplug.regularization.signatures import require_signatures
from regplug.regularization.structure import evaluating, restructure
from regplug.regularizer import Notice, RegularizerFunctions
from regplug.runs.initializing import initialize
from regplug.runs.request import composition_entries
from regplug.seeds import derive_seed
from regplug.sites import Place, Sites


@dataclass(frozen=True, kw_only=True)
class Network:
    """A restructured model with its regularizers in order.

    Args:
        model: In training mode, on the run's device and of its number format.
        regularizer: The composition.
        places: Regularizer's key -> where its layers are.
        order: The resolved order with reasons.
        notices: Warnings of components about the composition.
        settings: Regularizer's key -> parameter -> number.
        untrained: Names of the biases that are left as they are: a batch normalization behind them cancels them.
    """

    model: nn.Module
    regularizer: Composition
    places: Mapping[str, Sequence[Place]]
    order: tuple[Placed, ...]
    notices: tuple[Notice, ...]
    settings: Mapping[str, Mapping[str, Any]]
    untrained: tuple[str, ...] = ()

    @property
    def final_settings(self) -> dict[str, dict[str, Any]]:
        """The settings as plain numbers, at the last step of their schedules."""
        return {key: {name: last_value(value) for name, value in own.items()} for key, own in self.settings.items()}


def build_network(config: RunConfig, components: Components, data: Prepared) -> Network:
    """Builds and initialises the model, then lets the regularizers restructure it in their order."""
    model = build_model(config, components, data)
    members, order, entries = _members(components, data)
    if has_own_dropout(model):
        members = {OWN_DROPOUT: OwnDropout(), **members}
    if data.weights is not None:
        # Last: a regularizer that computes its own losses would discard the weights, and others need plain losses.
        members = {**members, ROW_WEIGHTS: RowWeights(data.weights)}
    example = data.train.x[:2]
    settings = {chosen.spec.key: numbers_of(chosen.params) for chosen in components.regs}
    places = _restructure_all(model, members, example, config.seed, settings)
    model.to(device=example.device, dtype=example.dtype)
    notices = find_notices(config, components, data, model, members)
    if note := repetition_note(data.raw):
        notices = [*notices, Notice("warn", note, "")]
    model.train()
    with evaluating(settings, model):
        untrained = cancelled_biases(model, example)
    for name in untrained:
        model.get_parameter(name).requires_grad_(False)
    return Network(
        model=model,
        regularizer=compose(members, taking_turns(entries)),
        places=places,
        order=tuple(order),
        notices=tuple(notices),
        settings=settings,
        untrained=tuple(untrained),
    )


def _restructure_all(
    model: nn.Module,
    members: Mapping[str, RegularizerFunctions],
    example: torch.Tensor,
    seed: int,
    settings: Mapping[str, Mapping[str, Any]],
) -> dict[str, Sequence[Place]]:
    """Lets every regularizer restructure the model, and returns by key where its layers are.

    The model's own dropout is replaced before the sites of the others are found.
    """
    places: dict[str, Sequence[Place]] = {}
    if OWN_DROPOUT in members:
        own = Sites(model, find_sites(model, example), OWN_DROPOUT)
        places[OWN_DROPOUT] = _restructured(members[OWN_DROPOUT], own, seed, settings)
    if ROW_WEIGHTS in members:
        places[ROW_WEIGHTS] = ()
    found = find_sites(model, example)
    replaced: dict[nn.Module, nn.Module] = {}
    for key, functions in members.items():
        if key not in places:
            places[key] = _restructured(functions, Sites(model, found, key, replaced), seed, settings)
    return places


def _restructured(
    functions: RegularizerFunctions, sites: Sites, seed: int, settings: Mapping[str, Mapping[str, Any]]
) -> tuple[Place, ...]:
    """Lets one regularizer restructure the model; its own weights are initialised from the run's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "init", sites.owner))
        return restructure(functions, sites, settings)


def _members(
    components: Components, data: Prepared
) -> tuple[dict[str, RegularizerFunctions], list[Placed], list[Entry]]:
    entries = composition_entries(components.regs)
    check_composition(entries, data.task, data.inputs.layout)
    order = resolve_order(entries)
    regs = {reg.spec.key: reg for reg in components.regs}
    members = {}
    for placed in order:
        reg = regs[placed.key]
        functions = reg.build()
        if not isinstance(functions, RegularizerFunctions):
            raise PluginError(
                f"The regularizer {reg.registered.full_name} is a {type(functions).__name__}.",
                hint="Its target must be a subclass of regplug.regularizer.RegularizerFunctions.",
            )
        require_signatures(functions, reg.registered.full_name)
        members[placed.key] = functions
    return members, order, entries


def numbers_of(params: Any) -> dict[str, Any]:
    """Returns the numeric parameters of a component for `step.settings`: numbers, and tuples of numbers."""

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float | Ramp) and not isinstance(value, bool)

    values = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    return {
        name: value
        for name, value in values.items()
        if is_number(value) or (isinstance(value, tuple) and value and all(map(is_number, value)))
    }


def build_model(config: RunConfig, components: Components, data: Prepared) -> nn.Module:
    """Builds the model and fills its parameters, all from the run's seed; torch's global generator is restored.

    Raises:
        ModelError: Its output does not fit the task.
    """
    chosen = components.model
    context = ModelContext(
        input_shape=tuple(data.train.x.shape[1:]),
        task=data.task,
        activation=_activation_factory(components),
        features=data.features,
    )
    name = chosen.registered.name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "init"))
        built = chosen.build(context)
        if not isinstance(built, nn.Module):
            raise ModelError(f"The model {name} is a {type(built).__name__}.", hint="A model is a torch.nn.Module.")
        built.to(device=data.train.x.device, dtype=data.train.x.dtype)
        # Lazy layers create their weights at their first input, which they get here.
        _check_output(built, name, data)
    initialize(built, components.inits, config.seed, data.train.x)
    return built


def _activation_factory(components: Components) -> Callable[[], nn.Module] | None:
    chosen = components.activation
    if chosen is None:
        return None

    def make() -> nn.Module:
        module: nn.Module = chosen.build()
        # This mark makes an activation of a plugin or of the user a site, like torch's activations.
        module.is_activation = True  # type: ignore[assignment]
        return module

    return make


@torch.no_grad()
def _check_output(model: nn.Module, name: str, data: Prepared) -> None:
    example, want = data.train.x[:2], (min(2, len(data.train)), data.task.num_outputs)
    model.eval()
    try:
        output = model(example)
    except BaseException as error:
        if not is_fault(error):
            raise
        raise ModelError(
            f"The model {name} cannot take inputs of shape {tuple(example.shape)}: it {told(error)}",
            hint="The first axis is the batch; the others are those of one input of the dataset.",
        ) from error
    finally:
        model.train()
    if isinstance(output, Tensor) and output.dtype in (torch.bfloat16, torch.float16):
        raise ModelError(
            f"The model {name} returns {output.dtype}, in which no loss is computed.",
            hint="End its forward with .float(): torch.autocast does not convert the result back.",
        )
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if shape != want:
        what = "one column for each target" if data.task.kind == "regression" else "one logit for each class"
        raise ModelError(
            f"The model {name} returns {shape} for two inputs, but the {data.task.words} needs {want}.",
            hint=f"It must return {what}: {data.task.num_outputs}.",
        )
