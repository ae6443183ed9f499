"""The training loop. It lifts the pure functions of one run, and trains one run or many stacked runs.

One run's functions are called as they are; those of a stack through `torch.func.vmap`, with one backward of the sum of
the runs' losses outside it. Runs do not mix, so each gradient is its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from regplug.data.inputs import Inputs, rows_in_turn
from regplug.probes import ProbeView
from regplug.regularizer import Clock, Member, Step
from regplug.sites import Place
from regplug.training.after_epoch import AfterEpoch
from regplug.training.course import Course, EpochRecord, Pools
from regplug.training.divergence import diverged_error, finite_runs, first_found, watch_for
from regplug.training.evaluate import Evaluator
from regplug.training.feed import FedBatch, Feed
from regplug.training.global_generator import GlobalGenerator
from regplug.training.lift import Lift
from regplug.training.looking import PROBED_AT_ONCE, PROBED_ROWS, RunLook
from regplug.training.optimizers import BoundRule, Rate, UpdateRule
from regplug.training.passes import in_mode
from regplug.training.program import Program
from regplug.training.settings import RunSettings, first_settings
from regplug.training.shapes import shapes_for
from regplug.training.state import Pool, RunInputs, State, initial_state
from regplug.training.step_values import StepValues
from regplug.training.stepper import Stepper, Watch

SAMPLE_ROWS = 1024
"""Approximate number of training rows from which batch statistics are recomputed before an evaluation."""


class Trainer:
    """Trains one run, or a stack of runs that differ only in numbers.

    Args:
        program: The computation of every run.
        rule: The optimizer's update rule.
        runs: Each run's own part. If not stacked, exactly one, whose tensors are the program's own.
        pools: The data.
        course: Length of the training and frequency of evaluations.
        places: Regularizer's key -> the places of its layers.
        stacked: Whether tensors have a leading axis of runs.
        probed: Whether probes are used; they may ask for the last update.
    """

    def __init__(
        self,
        *,
        program: Program,
        rule: UpdateRule,
        runs: Sequence[RunInputs],
        pools: Pools,
        course: Course,
        places: Mapping[str, Sequence[Place]],
        stacked: bool,
        probed: bool = False,
    ) -> None:
        self._program, self._runs, self._course = program, tuple(runs), course
        self._lift = Lift(len(runs) if stacked else None)
        x, y = pools.train.x.shape, pools.train.y.shape
        shapes = [
            shapes_for(
                program, places, run.settings, x=x, y=y, batch=course.batch_size, rows=run.count_rows(pools.train)
            )
            for run in runs
        ]
        draws = [
            program.regularizer.draws(of, first_settings(run.settings)) for of, run in zip(shapes, runs, strict=True)
        ]
        self._feed = Feed(
            pool=pools.train,
            runs=runs,
            lift=self._lift,
            draws=draws,
            batch_size=course.batch_size,
            shuffle=course.shuffle,
            needs_two_rows=program.needs_two_rows,
        )
        bound = BoundRule(rule, [run.optimizer for run in runs], self._lift.runs, pools.train.x.device)
        self.state: State = initial_state(program, bound, runs, self._lift, shapes[0])
        self._settings = RunSettings(runs, self._lift, pools.train, self._feed.steps * course.epochs)
        self._rates = [run.rate for run in runs]
        self._stepper = Stepper(
            program=program,
            rule=bound,
            state=self.state,
            settings=self._settings,
            lift=self._lift,
            is_shared=self._feed.is_shared,
        )
        self._evaluator = Evaluator(
            program=program, runs=runs, lift=self._lift, settings=self._settings, sample=self._sample
        )
        self._evaluator.clock = self._clock(0, 0)
        self._sampled: list[FedBatch] | None = None
        self._pools = pools
        self._after_epoch = AfterEpoch(program, self._settings, self._lift, self.state)
        self._generator = GlobalGenerator()
        self._probed, self._before_last = probed, dict[str, Tensor]()
        self._looked_at: list[FedBatch] | None = None

    def train(self) -> Iterator[EpochRecord]:
        """Trains epoch by epoch from the current state, and yields a record after each.

        Raises:
            DivergedError: If a run that is not stacked becomes NaN or infinite: at which step and after which part.
        """
        while self.state.epoch < self._course.epochs and any(self._active_list()):
            yield self._epoch()

    def to_dict(self) -> dict[str, Any]:
        """Returns a copy of everything that the training needs to continue, for `torch.save`."""
        before = {name: value.clone() for name, value in self._before_last.items()}
        return {"state": self.state.to_dict(), "before": before}

    def load_dict(self, saved: Mapping[str, Any]) -> None:
        """Restores what `to_dict` returned. The training continues as if it had not stopped."""
        self.state.load_dict(saved["state"])
        self._before_last = {name: value.to(self.state.params[name].device) for name, value in saved["before"].items()}
        self._evaluator.forget()
        self._evaluator.clock = self._clock(self.state.epoch, 0)

    def finish(self) -> None:
        """Applies each regularizer's `finalize` to each run and leaves the result in the state; idempotent."""
        if self.has_finalizers:
            with self._seeded():
                self._evaluator.clock = self._clock(self.state.epoch, 0)
                self._evaluator.finalize(self.state, self._feed)

    def evaluate(self, split: str) -> dict[str, list[float]]:
        """Returns the loss and, for classification, the accuracy of each run on a split, in evaluation mode.

        Args:
            split: `train`, `valid` or `test`.
        """
        values = self._evaluator.measure(self.state, getattr(self._pools, split), split)
        return {f"{split}/{name}": self._lift.numbers(value) for name, value in values.items()}

    def evaluate_at(self, split: str, inputs: Sequence[Inputs]) -> dict[str, list[float]]:
        """Returns what `evaluate` does, at other inputs of the split's rows.

        Args:
            split: `train`, `valid` or `test`.
            inputs: Those of each run, in the order of its rows.
        """
        pool = getattr(self._pools, split)
        x = inputs[0]
        if isinstance(pool.x, Tensor):
            x = pool.x.clone()
            for run, own in enumerate(inputs):
                rows = self._evaluator.rows_of_run(split, pool, run)
                x[rows] = own[: len(rows)]
        values = self._evaluator.measure(self.state, Pool(x=x, y=pool.y), split)
        return {f"{split}/{name}": self._lift.numbers(value) for name, value in values.items()}

    def outputs(self, split: str) -> Tensor:
        """Returns the logits or values of each run on a split: `(rows, outputs)`, or with a leading axis of runs."""
        return self._evaluator.outputs(self.state, getattr(self._pools, split), split)

    def row_losses(self, split: str, outputs: Tensor) -> Tensor:
        """Returns the loss of each row of a split: `(rows,)`, or with a leading axis of runs.

        Args:
            split: `train`, `valid` or `test`.
            outputs: The result of `outputs`.
        """
        return self._evaluator.row_losses(outputs, getattr(self._pools, split), split)

    @property
    def has_finalizers(self) -> bool:
        """Whether `finish` may change the weights."""
        return bool(self._program.regularizer.acting("finalize"))

    @property
    def num_parameters(self) -> int:
        """Number of trained numbers of one run."""
        return sum(param.numel() for param in self._program.params.values())

    def view_of(self, run: int) -> ProbeView:
        """Returns what probes see of one run."""
        of_run = partial(self._lift.of_run, run=run)
        if self._looked_at is None:
            count = max(1, PROBED_ROWS // self._course.batch_size)
            self._looked_at = list(islice(self._feed.epoch("probe"), count))
        stacked = self._lift.runs is not None
        look = RunLook(
            program=self._program,
            trained=self.tensors_of(run),
            seen=lambda: self._evaluator.tensors_of(self.state, run),
            state=of_run(self.state.regularizer),
            settings=of_run(self._settings.at(self.state.epoch * self._feed.steps - 1)),
            clock=self._clock(self.state.epoch, 0),
            batches=[self._feed.of_run(each, run) if stacked else each for each in self._looked_at],
            before=of_run(self._before_last),
            held_out=partial(self._held_out_of, run),
        )
        params = self.weights_of(run)
        roles = {name: self._program.roles[name] for name in params}
        return ProbeView(params=params, roles=roles, epoch=self.state.epoch, look=look)

    def _held_out_of(self, run: int) -> tuple[Iterator[Tensor], Tensor]:
        split = "test" if self._pools.valid is None else "valid"
        pool = getattr(self._pools, split)
        rows = self._evaluator.rows_of_run(split, pool, run)
        return rows_in_turn(pool.x, torch.split(rows, PROBED_AT_ONCE)), pool.y[rows]

    def weights_of(self, run: int) -> dict[str, Tensor]:
        """Returns the effective weights of one run, as used in evaluation and detached."""
        params, buffers = self._evaluator.tensors_of(self.state, run)
        settings = self._lift.of_run(self._settings.at(self.state.epoch * self._feed.steps - 1), run)
        step = Step(settings, {}, self._clock(self.state.epoch, 0))
        with torch.no_grad():
            return {name: value.detach() for name, value in self._program.weights(params, buffers, step).items()}

    def tensors_of(self, run: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Returns the parameters and buffers of one run."""
        state = self.state
        if self._lift.runs is None:
            return dict(state.params), dict(state.buffers)
        return {n: t[run] for n, t in state.params.items()}, {n: t[run] for n, t in state.buffers.items()}

    def networks_of(self, run: int) -> list[Member]:
        """Returns the parameters and buffers of each network a run ends with: one, or the members of an ensemble."""
        ensembles = self.state.ensembles
        return (ensembles[run] if ensembles else []) or [self.tensors_of(run)]

    # One epoch.

    def _epoch(self) -> EpochRecord:
        began = time.perf_counter()
        active = self._active_list()
        before = self.state.to_dict()
        with self._seeded():
            values = self._steps()
        self._find_divergence(values, before)
        self.state.epoch += 1
        self._evaluator.forget()
        self._evaluator.clock = self._clock(self.state.epoch, 0)
        running = values.metrics()
        metrics = running | self._end_epoch(running)
        return EpochRecord(
            epoch=self.state.epoch,
            metrics={name: self._lift.numbers(value) for name, value in metrics.items()},
            seconds=time.perf_counter() - began,
            active=active,
        )

    def _steps(self) -> StepValues:
        with in_mode(self._program.model, training=True):
            return StepValues.collect(self._each_step(), is_classification=self._program.task.is_classification)

    def _each_step(self, watch: Watch | None = None) -> Iterator[tuple[FedBatch, tuple[Tensor, Tensor, Tensor]]]:
        """Runs the steps of an epoch and yields each batch with what `Stepper.step` returned."""
        state, last = self.state, self._feed.steps - 1
        rates, active = self._rate_of_runs(), self._active_tensor()
        for batch in self._feed.epoch(state.epoch):
            self._stepper.clock = clock = self._clock(state.epoch, batch.number)
            rate = rates * self._course.factors[clock.index]
            if self._probed and batch.number == last and watch is None:
                self._before_last = {name: value.detach().clone() for name, value in state.params.items()}
            rows = {"x": batch.x, "y": batch.y, "rows": batch.rows}
            yield batch, self._stepper.step(rows, batch.noise, rate, active, watch)

    def _end_epoch(self, running: Mapping[str, Tensor]) -> dict[str, Tensor]:
        measured: dict[str, Tensor] = {}
        acts = bool(self._program.regularizer.acting("after_epoch"))
        # The mode is changed once for all splits: walking over the modules costs as much as a small evaluation.
        with in_mode(self._program.model, training=False):
            for split in ("valid", "test", "train"):
                pool = getattr(self._pools, split)
                if pool is not None and (self._is_due(split) or (acts and split == "valid")):
                    values = self._evaluator.measure(self.state, pool, split)
                    measured |= {f"{split}/{name}": value for name, value in values.items()}
        if acts:
            clock = self._clock(self.state.epoch, 0)
            self._after_epoch(clock, {**running, **measured}, self._active_tensor())
            self._evaluator.forget()
        return measured

    def _is_due(self, split: str) -> bool:
        course, epoch = self._course, self.state.epoch
        every = course.evaluate_train_every if split == "train" else course.evaluate_every
        return epoch % every == 0 or epoch == course.epochs

    # Which runs still train.

    def _active_list(self) -> list[bool]:
        state = self.state
        return [s is None and not d for s, d in zip(state.stopped, state.diverged, strict=True)]

    def _active_tensor(self) -> Tensor | None:
        active = self._active_list()
        return None if all(active) else torch.tensor(active, device=self._pools.train.x.device)

    def _find_divergence(self, values: StepValues, before: Mapping[str, Any]) -> None:
        """Checks once an epoch whether a run has become NaN or infinite, and finds where."""
        finite = finite_runs(values.total, self.state.params, self._lift)
        if bool(finite.all()):
            return
        for run, is_finite in enumerate(self._lift.numbers(finite)):
            if not is_finite and self._active_list()[run]:
                self.state.diverged[run] = where = self._replay(run, before)
                if self._lift.runs is None:
                    raise diverged_error(where, self._program.task.kind)

    def _replay(self, run: int, before: Mapping[str, Any]) -> str:
        """Repeats the epoch from its start and checks each part: all noise is keyed, so it repeats exactly."""
        after = self.state.to_dict()
        self.state.load_dict(before)
        watch = watch_for(run, self._lift, lambda: self._stepper.clock)
        try:
            with self._seeded(), in_mode(self._program.model, training=True):
                return first_found(self._each_step(watch), self.state.epoch)
        finally:
            self.state.load_dict(after)

    # Small parts.

    def _sample(self) -> list[FedBatch]:
        """Returns the same training batches at each evaluation; none if no batch statistics need recomputing."""
        if self._sampled is None:
            count = max(1, SAMPLE_ROWS // self._course.batch_size)
            has_statistics = any(name.endswith("running_mean") for name in self._program.buffers)
            self._sampled = list(islice(self._feed.epoch("sample"), count)) if has_statistics else []
        return self._sampled

    def _clock(self, epoch: int, number: int) -> Clock:
        steps, program = self._feed.steps, self._program
        return Clock(
            index=epoch * steps + number,
            count=self._course.epochs * steps,
            epoch=epoch,
            epochs=self._course.epochs,
            task=program.task,
            roles=program.roles,
        )

    def _rate_of_runs(self) -> Rate:
        if len(set(self._rates)) == 1 and not isinstance(self.state.rate_scale, Tensor):
            return self._rates[0] * self.state.rate_scale
        pool = self._pools.train.x
        return torch.tensor(self._rates, dtype=pool.dtype, device=pool.device) * self.state.rate_scale

    def _seeded(self) -> AbstractContextManager[None]:
        return self._generator.seeded(self._runs[0].seed, self.state.epoch)
