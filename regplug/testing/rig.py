"""A regularizer put into a small network, ready to be called phase by phase or trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from regplug.api import Regularizer, Task
from regplug.errors import CompositionError
from regplug.losses import LossFunction
from regplug.noise import NoiseStream, at_step
from regplug.registry import Registered, build, default_registry
from regplug.registry.components import default_loss
from regplug.regularization.composition import compose
from regplug.regularization.finding import find_sites
from regplug.regularization.layers import Augmented
from regplug.regularization.ordering import Entry, resolve_order
from regplug.regularization.structure import evaluating, restructure
from regplug.regularizer import Batch, Clock, Noise, Outputs, RegularizerFunctions, Shapes, Step, Tensors
from regplug.runs.network import numbers_of
from regplug.sites import Place, Sites
from regplug.testing import bench
from regplug.testing.checking import CheckFailed, CouldNotRun, attempting, expect
from regplug.testing.subject import Subject, find_subject
from regplug.training.lift import Lift
from regplug.training.passes import RunPasses
from regplug.training.program import Program
from regplug.training.settings import RunSettings
from regplug.training.shapes import shapes_for
from regplug.training.state import RunInputs

KEY = "tested"
"""The key of the regularizer under test."""

EXAMPLE_ROWS = 2


@dataclass(kw_only=True)
class Rig:
    """A regularizer in a network.

    Args:
        functions: The regularizer.
        program: What each step computes, companions included.
        places: Regularizer's key -> where its layers are.
        settings: Regularizer's key -> parameter -> number.
        name: The network's name.
        task: What is learned.
        dtype: Of all tensors.
    """

    functions: RegularizerFunctions
    program: Program
    places: Mapping[str, Sequence[Place]]
    settings: Mapping[str, Mapping[str, Any]]
    name: str
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
        return bench.pools(self.name, self.task, torch.float32).train.x.numpy()

    @property
    def params(self) -> dict[str, Tensor]:
        """Copies of the parameters, apart from every graph."""
        return {name: value.detach().clone() for name, value in self.program.params.items()}

    def x(self, rows: int = bench.BATCH, seed: int = 0) -> Tensor:
        """Inputs for the network."""
        return bench.inputs(self.name, rows, self.dtype, seed)

    def y(self, rows: int = bench.BATCH) -> Tensor:
        """Targets for the task."""
        return bench.targets(self.task, rows, self.dtype)

    def layers(self) -> list[nn.Module]:
        """The layers that were put in through `sites`."""
        found = []
        for module in self.model.modules():
            if isinstance(module, Augmented):
                for side in (module.before, module.after):
                    found += [layer for call in side for layer in call]  # type: ignore[attr-defined] # a ModuleList
        return found

    def run_inputs(self, seed: int, rate: float = 0.1) -> RunInputs:
        """What this network brings to a training."""
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
        train = bench.pools(self.name, self.task, self.dtype).train
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

    def initial_state(self, params: Tensors | None = None, buffers: Tensors | None = None) -> dict[str, Tensor]:
        """The state with which the regularizer under test starts."""
        own = self.params if params is None else params
        shapes = replace(self.shapes(), raw=self.raw)
        return self.functions.init(shapes, own, self.buffers if buffers is None else buffers)

    def batch(self, rows: int = bench.BATCH) -> Batch:
        """The rows of a step, as they come."""
        y = self.y(rows)
        return Batch(self.x(rows), y, y, torch.arange(rows))

    def step(
        self, noise: Noise | None = None, settings: Any = None, *, epoch: int = 0, state: Tensors | None = None
    ) -> Step:
        """The composition's step, with a batch and the network to run.

        Args:
            noise: Component -> key -> tensor; by default drawn.
            settings: Key -> parameter -> tensor; by default the network's.
            epoch: Epochs done before.
            state: State of the regularizer under test; by default that at the start.
        """
        clock = Clock(index=3 * epoch, count=30, epoch=epoch, epochs=10, task=self.task, roles=self.program.roles)
        params, buffers = self.params, self.buffers
        flat = self.program.regularizer.initial(lambda key: replace(self.shapes(key), raw=self.raw), params, buffers)
        if state is not None:
            flat |= {f"{KEY}/{name}": value for name, value in state.items()}
        drawn = self.noise()[0] if noise is None else noise
        step = Step(settings or self.setting_tensors(), drawn, clock, state=flat, batch=self.batch())
        step.set_rate(torch.tensor(0.1, dtype=self.dtype))
        step.outputs = Outputs(bench.targets(bench.VALUES, bench.BATCH, self.dtype), buffers, {})
        passes = RunPasses(self.program, params, buffers)
        passes.sample = [step]
        step.attach(passes)
        return step

    def own_step(
        self, noise: Noise | None = None, settings: Any = None, *, epoch: int = 0, state: Tensors | None = None
    ) -> Step:
        """The step as the regularizer under test sees it."""
        return self.step(noise, settings, epoch=epoch, state=state).child(KEY)

    def train_logits(
        self, x: Tensor, noise: Noise | None = None, *, buffers: Tensors | None = None, number: int = 0
    ) -> Tensor:
        """One forward pass in training, with buffers apart from the network's own."""
        self.model.train()
        own = self.buffers if buffers is None else buffers
        return self.program.forward(self.params, own, self.step(noise), x, number).logits

    def eval_logits(self, x: Tensor) -> Tensor:
        """The network's output in evaluation, without a graph."""
        self.model.eval()
        output = self.evaluated(self.model, x)
        self.model.train()
        return output

    def evaluated(self, model: nn.Module, x: Tensor) -> Tensor:
        """The output of the network, or of a copy of it, with the settings that its layers may read in evaluation."""
        with torch.no_grad(), evaluating(self.settings, model):
            output: Tensor = model(x)
        return output


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
) -> Rig:
    """Puts a regularizer into a network.

    Args:
        subject: The regularizer; `None` for the bare network.
        name: The network; `None` for the first that it takes.
        dtype: Of all tensors.
        seed: Of the network's weights.
        values: Its parameters beside those of the subject.
        built_with: Parameters to build it with where they shall not be those of its settings.
        task: What is learned; `None` for the first that it takes.
        left_out: Whether only what the regularizer requires is put in, and not it.

    Raises:
        CheckFailed: It cannot be built or put in.
    """
    name = name or (networks_of(subject)[0] if subject else "mlp")
    task = task or (bench.TASKS[subject.descriptor(Regularizer).tasks[0]] if subject else bench.CLASSES)
    members: dict[str, RegularizerFunctions] = {}
    numbers: dict[str, Mapping[str, Any]] = {}
    if subject is not None:
        functions = subject.build(**(values or {} if built_with is None else built_with))
        expect(isinstance(functions, RegularizerFunctions), f"the target gave a {type(functions).__name__}")
        members, numbers = _with_required(subject, functions)
        numbers[KEY] = numbers_of(subject.params(**(values or {})))
        if left_out:
            del members[KEY], numbers[KEY]
    model = bench.network(name, dtype, seed, activation_of(subject))
    places = _restructured(model, members, bench.inputs(name, EXAMPLE_ROWS, dtype), numbers)
    model.to(dtype).train()
    program = Program(model=model, regularizer=compose(members), loss=task_loss(task), task=task)
    return Rig(
        functions=members.get(KEY, RegularizerFunctions()),
        program=program,
        places=places,
        settings={**{key: {} for key in members}, **numbers},
        name=name,
        task=task,
        dtype=dtype,
        members=members,
    )


def task_loss(task: Task) -> LossFunction:
    """The installed loss that is the default for a task."""
    chosen = default_loss(default_registry().components("loss"), task.kind)
    return build(chosen.registered, {})  # type: ignore[no-any-return] # a loss of the host's


def networks_of(subject: Subject) -> list[str]:
    """The networks that a regularizer takes: it may refuse one by a `CompositionError`.

    Raises:
        CheckFailed: It takes none.
    """
    if "networks" not in subject.cache:
        taken: list[str] = []
        for name in _candidates(subject):
            if taken and name in bench.RESIDUAL_NETWORKS and not subject.descriptor(Regularizer).felt.branches:
                break
            functions, model = subject.build(), bench.network(name, torch.float64, activate=activation_of(subject))
            try:
                _restructured(
                    model, {KEY: functions}, bench.inputs(name, EXAMPLE_ROWS), {KEY: numbers_of(subject.params())}
                )
                taken.append(name)
            except CompositionError as error:
                subject.cache["refusal"] = error.message
        subject.cache["networks"] = taken
    found: list[str] = subject.cache["networks"]
    expect(found, f"it refuses every network of the kit, at last: {subject.cache.get('refusal')}")
    return found


def _candidates(subject: Subject) -> list[str]:
    """The networks that have what the descriptor asks for, the residual ones last."""
    descriptor = subject.descriptor(Regularizer)
    names = (*(() if descriptor.felt.branches else bench.NETWORKS), *bench.RESIDUAL_NETWORKS)
    return [name for name in names if bench.layout(name) in descriptor.inputs]


def activation_of(subject: Subject | None) -> Callable[[], nn.Module]:
    """Makes the activation that a regularizer needs, by default tanh."""
    component = subject.component if subject else None
    if subject is None or not isinstance(component, Regularizer) or not component.felt.activation:
        return nn.Tanh
    return find_subject("activation", component.felt.activation, {}, subject.registry).build


def _restructured(
    model: nn.Module,
    members: Mapping[str, RegularizerFunctions],
    example: Tensor,
    settings: Mapping[str, Mapping[str, Any]],
) -> dict[str, Sequence[Place]]:
    found = find_sites(model, example)
    places: dict[str, Sequence[Place]] = {}
    for key, functions in members.items():
        sites = Sites(model, found, key)
        try:
            with attempting("restructure"):
                places[key] = restructure(functions, sites, settings)
        except CheckFailed as error:
            if isinstance(error.__cause__, CompositionError):
                raise error.__cause__ from None
            raise
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
    raise CouldNotRun(f"it requires {word}, and no installed regularizer is one")
