"""A regularizer in a small network, ready to be called phase by phase or trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from regplug.api import Task
from regplug.config.ramps import last_value
from regplug.noise import NoiseStream, at_step
from regplug.regularization.layers import Augmented, WeightLayer
from regplug.regularization.settling import settle
from regplug.regularization.structure import evaluating
from regplug.regularizer import Batch, Clock, Noise, Outputs, RegularizerFunctions, Shapes, Step, Tensors
from regplug.sites import Place
from regplug.testing import bench
from regplug.testing.checking import attempting
from regplug.training.lift import Lift
from regplug.training.passes import RunPasses
from regplug.training.program import Program, clock_at_start
from regplug.training.settings import RunSettings
from regplug.training.shapes import shapes_for
from regplug.training.state import RunInputs

KEY = "tested"
"""The key of the regularizer under test."""


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
        return self.network.pools(self.task, torch.float32).train.x[:].numpy()

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

    def moved_params(self, seed: int) -> dict[str, Tensor]:
        """The parameters a little away from their start, where a penalty may have no gradient."""
        generator = torch.Generator().manual_seed(seed)
        return {
            name: value + 0.1 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
            for name, value in self.params.items()
        }

    def moved_state(self) -> dict[str, Tensor]:
        """The state of the regularizer under test as if it had started from other parameters.

        Its initial state often equals the parameters, where a distance to it has no gradient.
        """
        return self.initial_state(self.moved_params(seed=17))

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
