"""A regularizer in a small network, ready to be called phase by phase or trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from regplug.api import Regularizer, Task
from regplug.config.ramps import last_value
from regplug.errors import CompositionError
from regplug.losses import LossFunction
from regplug.noise import NoiseStream, at_step
from regplug.registry import Registered, build, default_registry
from regplug.registry.components import default_loss
from regplug.regularization.composition import compose
from regplug.regularization.finding import find_sites
from regplug.regularization.layers import Augmented, WeightLayer
from regplug.regularization.ordering import Entry, resolve_order
from regplug.regularization.own_dropout import KEY as OWN_DROPOUT
from regplug.regularization.own_dropout import OwnDropout, has_own_dropout
from regplug.regularization.settling import settle
from regplug.regularization.structure import evaluating, restructure
from regplug.regularizer import Batch, Clock, Noise, Outputs, RegularizerFunctions, Shapes, Step, Tensors
from regplug.runs.network import numbers_of
from regplug.seeds import derive_seed
from regplug.sites import Place, Sites
from regplug.testing import bench
from regplug.testing.checking import CheckFailed, CouldNotRun, attempting, expect
from regplug.testing.generators import torch_seeded
from regplug.testing.subject import Subject, find_subject
from regplug.training.lift import Lift
from regplug.training.passes import RunPasses
from regplug.training.program import Program, clock_at_start
from regplug.training.settings import RunSettings
from regplug.training.shapes import shapes_for
from regplug.training.state import RunInputs

KEY = "tested"
"""The key of the regularizer under test."""

EXAMPLE_ROWS = 2
_FEW = 3


@dataclass(kw_only=True)
class Rig:
    """A regularizer in a network.

    Args:
        functions: The regularizer.
        program: Computation of each step, including companions.
        places: Regularizer's key -> where its layers are.
        settings: Regularizer's key -> parameter -> number.
        name: The network's name.
        network: The network.
        task: What is learned.
        dtype: Of all tensors.
    """

    functions: RegularizerFunctions
    program: Program
    places: Mapping[str, Sequence[Place]]
    settings: Mapping[str, Mapping[str, Any]]
    name: str
    network: bench.Network
    task: Task
    dtype: torch.dtype
    members: Mapping[str, RegularizerFunctions] = field(default_factory=dict)

    @property
    def model(self) -> nn.Module:
        """The restructured network."""
        return self.program.model

    @property
    def buffers(self) -> dict[str, Tensor]:
        """Copies of the buffers."""
        return {name: value.clone() for name, value in self.program.buffers.items()}

    @property
    def raw(self) -> Any:
        """The training rows, which are not normalised."""
        return self.network.pools(self.task, torch.float32).train.x.numpy()

    @property
    def params(self) -> dict[str, Tensor]:
        """Detached copies of the parameters."""
        return {name: value.detach().clone() for name, value in self.program.params.items()}

    def x(self, rows: int = bench.BATCH, seed: int = 0) -> Tensor:
        """Inputs for the network."""
        return self.network.inputs(rows, self.dtype, seed)

    def y(self, rows: int = bench.BATCH) -> Tensor:
        """Targets for the task."""
        return bench.targets(self.task, rows, self.dtype)

    def site_layers(self) -> list[nn.Module]:
        """The layers that were put before or after a module."""
        found = []
        for module in self.model.modules():
            if isinstance(module, Augmented):
                for side in (module.before, module.after):
                    found += [layer for call in side for layer in call]  # type: ignore[attr-defined] # a ModuleList
        return found

    def layers(self) -> list[nn.Module]:
        """The layers that were put before or after a module, or on a weight."""
        return [*self.site_layers(), *(each for each in self.model.modules() if isinstance(each, WeightLayer))]

    @property
    def acts_in_evaluation(self) -> bool:
        """Whether a layer of the regularizer also acts in evaluation."""
        return self.program.acts_in_evaluation

    def run_inputs(self, seed: int, rate: float = 0.1) -> RunInputs:
        """This network's part of a training."""
        return RunInputs(
            seed=seed,
            rate=rate,
            settings=self.settings,
            params=self.params,
            buffers=self.buffers,
            raw=self.raw,
        )

    def setting_tensors(self) -> dict[str, dict[str, Tensor]]:
        """The settings as the host hands them to a step."""
        train = self.network.pools(self.task, self.dtype).train
        now = RunSettings([self.run_inputs(0)], Lift(None), train, count=1).at(0)
        return {key: dict(own) for key, own in now.items()}

    def noise(self, *, rows: int = bench.BATCH, seed: int = 0, steps: int = 1) -> list[dict[str, dict[str, Tensor]]]:
        """The random numbers of some steps: component -> key -> tensor."""
        draws = self.program.regularizer.draws(lambda key: self.shapes(key, rows), self.settings)
        stream = NoiseStream(seed, draws, length=steps, dtype=self.dtype, device=torch.device("cpu"))
        block = stream.block(0, 0)
        return [at_step(block, draws, number, rows, 0) for number in range(steps)]

    def shapes(self, key: str = KEY, rows: int = bench.BATCH) -> Shapes:
        """What a regularizer may know of the network and its data."""
        x, y = self.x(rows).shape, self.y(rows).shape
        shapes_of = shapes_for(self.program, self.places, self.settings, x=x, y=y, batch=rows, rows=bench.TRAIN_ROWS)
        return shapes_of(key)

    def weights(self, params: Tensors) -> Tensors:
        """Effective weights at these parameters."""
        return self.program.weights(params, self.buffers, self.step())

    def first_step(self) -> Step:
        """The composition's first step, without batch, noise and state."""
        return Step(self.setting_tensors(), {}, clock_at_start(self.program))

    def moved_state(self) -> dict[str, Tensor]:
        """The state of the regularizer under test as if it had started from other parameters.

        Its initial state often equals the parameters, where a distance to it has no gradient.
        """
        generator = torch.Generator().manual_seed(17)
        moved = {
            name: value + 0.1 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
            for name, value in self.params.items()
        }
        return self.initial_state(moved)

    def initial_state(self, params: Tensors | None = None, buffers: Tensors | None = None) -> dict[str, Tensor]:
        """The state with which the regularizer under test starts."""
        own = self.params if params is None else params
        shapes = replace(self.shapes(), raw=self.raw)
        return self.functions.init(shapes, own, self.buffers if buffers is None else buffers)

    def batch(self, rows: int = bench.BATCH) -> Batch:
        """The rows of a step before the data phase."""
        y = self.y(rows)
        return Batch(self.x(rows), y, y, torch.arange(rows))

    def step(
        self,
        noise: Noise | None = None,
        settings: Any = None,
        *,
        epoch: int = 0,
        state: Tensors | None = None,
        params: Tensors | None = None,
    ) -> Step:
        """The composition's step, with a batch and the network to run.

        Args:
            noise: Component -> key -> tensor; by default drawn.
            settings: Key -> parameter -> tensor; by default the network's.
            epoch: Epochs done before.
            state: State of the regularizer under test; by default its initial state.
            params: Parameters with which the step runs the model; by default copies of the network's.
        """
        clock = Clock(index=3 * epoch, count=30, epoch=epoch, epochs=10, task=self.task, roles=self.program.roles)
        own, buffers = self.params, self.buffers
        flat = self.program.regularizer.initial(lambda key: replace(self.shapes(key), raw=self.raw), own, buffers)
        if state is not None:
            flat |= {f"{KEY}/{name}": value for name, value in state.items()}
        drawn = self.noise()[0] if noise is None else noise
        step = Step(settings or self.setting_tensors(), drawn, clock, state=flat, batch=self.batch())
        step.set_rate(torch.tensor(0.1, dtype=self.dtype))
        step.outputs = Outputs(bench.targets(self.network.task("regression"), bench.BATCH, self.dtype), buffers, {})
        passes = RunPasses(self.program, own if params is None else params, buffers)
        passes.sample = [step]
        step.attach(passes)
        return step

    def own_step(
        self,
        noise: Noise | None = None,
        settings: Any = None,
        *,
        epoch: int = 0,
        state: Tensors | None = None,
        params: Tensors | None = None,
    ) -> Step:
        """The step as the regularizer under test sees it."""
        return self.step(noise, settings, epoch=epoch, state=state, params=params).child(KEY)

    def train_logits(
        self, x: Tensor, noise: Noise | None = None, *, buffers: Tensors | None = None, number: int = 0
    ) -> Tensor:
        """Runs one forward pass in training on copies of the network's buffers."""
        self.model.train()
        own = self.buffers if buffers is None else buffers
        return self.program.forward(self.params, own, self.step(noise), x, number).logits

    def eval_logits(self, x: Tensor) -> Tensor:
        """The network's output in evaluation, without a graph."""
        output = self.evaluated(self.model, x)
        self.model.train()
        return output

    def evaluated(self, model: nn.Module, x: Tensor) -> Tensor:
        """The output of a copy of the network, or of its settled form, in evaluation and without a graph."""
        model.eval()
        with torch.no_grad(), evaluating(self.settings, model):
            return model(x)  # type: ignore[no-any-return] # nn.Module returns Any

    def settled(self) -> nn.Module:
        """The ordinary network that the host creates from this one at the end of a run."""
        with attempting("making an ordinary network of it"):
            return settle(copy.deepcopy(self.model), self.last_settings).eval()

    @property
    def last_settings(self) -> dict[str, dict[str, Any]]:
        """The settings at the end of their schedules."""
        return {key: {name: last_value(each) for name, each in own.items()} for key, own in self.settings.items()}


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
        values: Its parameters beside those of the subject.
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


def few_networks_of(subject: Subject) -> list[str]:
    """The first three networks that it accepts and the author's own, for checks that train many times."""
    taken = networks_of(subject)
    return [*taken[:_FEW], *(name for name in taken[_FEW:] if name in subject.networks)]


def _candidates(subject: Subject) -> list[str]:
    """The networks that have what the descriptor requires, and the author's own; the slowest of the kit's are last."""
    descriptor = subject.descriptor(Regularizer)
    names = bench.RESIDUAL if descriptor.felt.branches else sorted(bench.NETWORKS, key=bench.RESIDUAL[-1].__eq__)
    return [
        *(name for name in names if bench.NETWORKS[name].layout in descriptor.inputs),
        *subject.networks,
    ]


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
