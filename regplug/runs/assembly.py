"""From a configuration to everything that a training needs; nothing is trained or tracked here."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from regplug.api import DataContext, Loss, ModelContext, Task
from regplug.config import RunConfig
from regplug.config.params import stackable_fields
from regplug.config.ramps import Ramp, first_value, last_value
from regplug.data import Prepared, RawData, prepare
from regplug.errors import CompositionError, DataError, ModelError, PluginError
from regplug.losses import SETTINGS_KEY, LossFunction
from regplug.registry import load_target, takes_keywords
from regplug.registry.components import Chosen, Components
from regplug.registry.faults import is_fault, told
from regplug.regularization.cancelled_biases import cancelled_biases
from regplug.regularization.compatibility import find_notices
from regplug.regularization.composition import Composition, compose
from regplug.regularization.finding import find_sites
from regplug.regularization.ordering import Entry, Placed, check_composition, resolve_order, taking_turns
from regplug.regularization.own_dropout import KEY as OWN_DROPOUT
from regplug.regularization.own_dropout import OwnDropout, has_own_dropout
from regplug.regularization.signatures import require_signatures
from regplug.regularization.structure import evaluating, restructure
from regplug.regularizer import Notice, RegularizerFunctions, Step
from regplug.runs.initializing import initialize
from regplug.runs.request import composition_entries
from regplug.seeds import derive_seed
from regplug.sites import Place, Sites
from regplug.training.course import Course
from regplug.training.optimizers import UpdateRule
from regplug.training.program import Program, clock_at_start
from regplug.training.schedules import Factors
from regplug.training.state import Pool, RunInputs
from regplug.training.tensors import split_tensors
from regplug.training.torch_optimizers import TorchRule

DTYPES: Mapping[str, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}

SMALL_STEP = 4_000_000
"""Parameters times rows below which a step is faster on one thread, and far faster on a busy machine."""


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Sets torch's threads, and restores them."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A restructured model with its regularizers in order.

    Args:
        model: In training mode, on the run's device and of its number format.
        regularizer: The composition.
        places: Regularizer's key -> where its layers are.
        order: The resolved order with reasons.
        notices: What components say of the composition, none of which refuses it.
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
        """The settings as plain numbers, at the end of their schedules."""
        return {key: {name: last_value(value) for name, value in own.items()} for key, own in self.settings.items()}


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """Everything that a training needs.

    Args:
        config: What was asked for.
        components: What it means, for the task of the data.
        data: Normalised tensors.
        network: The model and its regularizers.
        program: What each step computes.
        rule: The optimizer's update rule.
        course: How long and how often.
        inputs: What this run brings to the loop.
    """

    config: RunConfig
    components: Components
    data: Prepared
    network: Network
    program: Program
    rule: UpdateRule
    course: Course
    inputs: RunInputs

    def loss_tensors(self) -> dict[str, Tensor]:
        """The loss's settings, as it is called with them; of a stack, the first run's."""
        own = _as_tensors(self.inputs.settings, self.data.train.x)
        return own.get(SETTINGS_KEY, {})

    def num_threads(self, runs: int = 1) -> int:
        """Threads to train with: as configured, else one where a step is too small to be worth sharing.

        It depends on the configuration alone, so a run repeats bit by bit on the same machine.

        Args:
            runs: How many runs are stacked.
        """
        numbers = sum(param.numel() for param in self.program.params.values()) * self.config.batch_size * runs
        return self.config.threads or (1 if numbers < SMALL_STEP else torch.get_num_threads())


def load_data(config: RunConfig, components: Components) -> Prepared:
    """Reads or generates the data and normalises them.

    Raises:
        DataError: They cannot be read or do not fit.
    """
    dataset = components.dataset
    raw = dataset.build(DataContext(data_seed=config.data_seed))
    if not isinstance(raw, RawData):
        raise PluginError(
            f"The dataset {dataset.registered.name} ({dataset.registered.full_name}) returned a {type(raw).__name__}.",
            hint="A dataset returns a regplug.data.RawData.",
        )
    data = prepare(raw, dtype=DTYPES[config.dtype], device=find_device(config.device))
    check_batch_size(config, data)
    return data


def check_batch_size(config: RunConfig, data: Prepared) -> None:
    """Refuses a batch that is larger than the training split.

    Raises:
        DataError: It is.
    """
    if config.batch_size > len(data.train):
        raise DataError(
            f"batch_size={config.batch_size} is larger than the {len(data.train)} training rows of {data.raw.name}.",
            hint=f"Choose --batch-size {len(data.train)} or less.",
        )


def find_device(name: str) -> torch.device:
    """The device that a configuration means.

    Raises:
        ModelError: A GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise ModelError("device=cuda, and torch finds no GPU.", hint="Use --device cpu or --device auto.")
    return torch.device("cuda" if has_gpu and name in ("cuda", "auto") else "cpu")


def assemble(config: RunConfig, components: Components, data: Prepared) -> Assembly:
    """Builds model, regularizers, loss and optimizer.

    Args:
        config: What was asked for.
        components: What it means.
        data: What it is trained on.

    Raises:
        CompositionError: Components contradict each other or the run.
        ModelError: The model does not fit data or task.
    """
    components = components.for_task(data.task)
    network = build_network(config, components, data)
    loss = build_loss(components, network.regularizer, data.task)
    program = Program(model=network.model, regularizer=network.regularizer, loss=loss, task=data.task)
    params, buffers = split_tensors(network.model)
    program.require_inverses(Step(_as_tensors(network.settings, data.train.x), {}, clock_at_start(program)))
    rule = build_rule(components.optimizer, list(params.values()), config.lr)
    _check_last_batch(network.model, len(data.train), config.batch_size)
    return Assembly(
        config=config,
        components=components,
        data=data,
        network=network,
        program=program,
        rule=rule,
        course=make_course(config, components, len(data.train)),
        inputs=RunInputs(
            seed=config.seed,
            rate=config.lr,
            settings={**network.settings, **loss_settings(components)},
            params=params,
            buffers=buffers,
            optimizer=stackable_numbers(components.optimizer),
            limits=data.limits,
            raw=data.raw.train.x,
        ),
    )


def _as_tensors(settings: Mapping[str, Mapping[str, Any]], like: Tensor) -> dict[str, dict[str, Tensor]]:
    """The settings as the first step has them."""
    return {
        key: {name: torch.as_tensor(first_value(value), dtype=like.dtype) for name, value in own.items()}
        for key, own in settings.items()
    }


def build_loss(components: Components, regularizer: Composition, task: Task) -> LossFunction:
    """Builds the loss.

    Raises:
        CompositionError: A regularizer makes class probabilities of the targets, which the loss does not take.
        PluginError: The loss's target makes something else.
    """
    chosen = cast(Chosen, components.loss)
    softening = [member.key for member in regularizer.acting("batch") if member.functions.needs_soft_targets]
    if softening and task.is_classification and not cast(Loss, chosen.registered.component).soft_targets:
        raise CompositionError(
            f"{softening[0]} turns the classes into probabilities, and loss={chosen.spec.name} takes classes only.",
            hint=f"Leave {softening[0]} out, or choose a loss with soft_targets: `regplug plugins show NAME`.",
        )
    loss = chosen.build()
    if not isinstance(loss, LossFunction):
        raise PluginError(
            f"The loss {chosen.registered.full_name} is a {type(loss).__name__}.",
            hint="Its target must be a subclass of regplug.losses.LossFunction.",
        )
    return loss


def loss_settings(components: Components) -> dict[str, dict[str, Any]]:
    """The loss's stackable numbers, under the key at which the loop looks for them."""
    own = stackable_numbers(cast(Chosen, components.loss))
    return {SETTINGS_KEY: own} if own else {}


def stackable_numbers(chosen: Chosen) -> dict[str, Any]:
    """A component's numbers that may differ between the runs of a stack."""
    if isinstance(chosen.params, Mapping):
        return {}
    numbers = numbers_of(chosen.params)
    return {name: numbers[name] for name in stackable_fields(type(chosen.params)) if name in numbers}


def build_rule(chosen: Chosen, params: Sequence[Tensor], rate: float) -> UpdateRule:
    """Builds the optimizer's update rule; a class of torch.optim, named by its path, is adapted.

    Args:
        chosen: The optimizer.
        params: What it will train.
        rate: Learning rate.

    Raises:
        RequestError: A class of torch.optim cannot train these parameters.
        PluginError: The optimizer's target makes something else.
    """
    registered = chosen.registered
    if takes_keywords(registered):
        adapted = TorchRule(load_target(registered), chosen.params, registered.full_name)
        adapted.try_out(params, rate)
        return adapted
    rule = chosen.build()
    if not isinstance(rule, UpdateRule):
        raise PluginError(
            f"The optimizer {registered.full_name} is a {type(rule).__name__}.",
            hint="Its target must be a subclass of regplug.optimizers.UpdateRule.",
        )
    return rule


def make_course(config: RunConfig, components: Components, rows: int) -> Course:
    """How long and how often a run of that many training rows trains and is evaluated.

    Raises:
        PluginError: The schedule raised, or gave what is no factor.
    """
    schedule = components.schedule
    factors = Factors(
        functools.partial(load_target(schedule.registered), schedule.params),
        name=schedule.registered.full_name,
        epochs=config.epochs,
        steps_per_epoch=-(-rows // config.batch_size),
        warmup=config.warmup,
    )
    # What is wrong at the start or at the end is told before anything is trained.
    _ = factors[:1], factors[len(factors) - 1 :]
    return Course(
        epochs=config.epochs,
        batch_size=config.batch_size,
        shuffle=config.shuffle,
        factors=factors,
        evaluate_every=config.evaluate_every,
    )


def build_network(config: RunConfig, components: Components, data: Prepared) -> Network:
    """Builds and initialises the model, then lets the regularizers restructure it in their order."""
    model = build_model(config, components, data)
    members, order, entries = _members(components, data)
    places: dict[str, Sequence[Place]] = {}
    example = data.train.x[:2]
    settings = {chosen.spec.key: numbers_of(chosen.params) for chosen in components.regs}
    if has_own_dropout(model):
        members = {OWN_DROPOUT: OwnDropout(), **members}
        own = Sites(model, find_sites(model, example), OWN_DROPOUT)
        places[OWN_DROPOUT] = _restructured(members[OWN_DROPOUT], own, config.seed, settings)
    found = find_sites(model, example)
    replaced: dict[nn.Module, nn.Module] = {}
    for key, functions in members.items():
        if key != OWN_DROPOUT:
            places[key] = _restructured(functions, Sites(model, found, key, replaced), config.seed, settings)
    model.to(device=example.device, dtype=example.dtype)
    notices = find_notices(config, components, data, model, members)
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


def _restructured(
    functions: RegularizerFunctions, sites: Sites, seed: int, settings: Mapping[str, Mapping[str, Any]]
) -> tuple[Place, ...]:
    """Lets one regularizer restructure; weights of its own start from the run's seed, as the model's do."""
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
    """The numeric parameters of a component, for `step.settings`: numbers, and tuples of numbers."""

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
        input_shape=tuple(data.train.x.shape[1:]), task=data.task, activation=_activation_factory(components)
    )
    name = chosen.registered.name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "init"))
        built = chosen.build(context)
        if not isinstance(built, nn.Module):
            raise ModelError(f"The model {name} is a {type(built).__name__}.", hint="A model is a torch.nn.Module.")
        built.to(device=data.train.x.device, dtype=data.train.x.dtype)
        # Lazy layers draw their weights when they see their first input, which is here.
        _check_output(built, name, data)
    initialize(built, components.inits, config.seed)
    return built


def _activation_factory(components: Components) -> Callable[[], nn.Module] | None:
    chosen = components.activation
    if chosen is None:
        return None

    def make() -> nn.Module:
        module: nn.Module = chosen.build()
        # Sites are found by this mark: an activation of a plugin or of the user's own is one like torch's.
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
            hint="Let its forward end in .float(); torch.autocast leaves what it computed as it is.",
        )
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if shape != want:
        what = "one logit for each class" if data.task.is_classification else "one column for each target"
        raise ModelError(
            f"The model {name} returns {shape} for two inputs, and the {data.task.kind} needs {want}.",
            hint=f"It must return {what}: {data.task.num_outputs}.",
        )


def _check_last_batch(model: nn.Module, rows: int, batch_size: int) -> None:
    has_batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    last = rows % batch_size or batch_size
    if has_batch_norm and last == 1:
        raise CompositionError(
            f"{rows} training rows in batches of {batch_size} leave a last batch of one row, of which a batch "
            "normalization can take no variance.",
            hint=f"Choose another batch size, for example --batch-size {batch_size + 1}.",
        )


def pools_of(data: Prepared) -> tuple[Pool, Pool | None, Pool]:
    """Training, validation and test rows as the loop takes them."""
    valid = None if data.valid is None else Pool(x=data.valid.x, y=data.valid.y)
    return Pool(x=data.train.x, y=data.train.y), valid, Pool(x=data.test.x, y=data.test.y)
