"""Trains the runs of one group: in stacks of a measured size, or one by one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regplug.data import Prepared
from regplug.errors import DivergedError
from regplug.registry.faults import is_fault, message_of
from regplug.runs.assembly import Assembly, assemble, loss_settings, stackable_numbers, threads
from regplug.runs.network import build_network, numbers_of
from regplug.runs.trained import probing_of, trained_model, trainer_of
from regplug.studies.design.points import Point
from regplug.studies.measuring import Log, PointResult, failed
from regplug.studies.stacks.grouping import Group
from regplug.studies.stacks.memory import bytes_of_a_run
from regplug.studies.stacks.progress import Progress
from regplug.studies.stacks.rehearsing import Rehearsal, rehearse
from regplug.studies.stacks.stack_size import (
    TRIAL_STEPS,
    best_size,
    candidate_sizes,
    clock_for,
    described,
    even_stacks,
    least_times,
)
from regplug.studies.stacks.study_data import StudyData
from regplug.studies.stacks.trial import CannotLiftError, Trial, lifting, short_course
from regplug.training.course import EpochRecord, Pools
from regplug.training.loop import Trainer
from regplug.training.state import Pool, RunInputs
from regplug.training.tensors import split_tensors

OnEpoch = Callable[[EpochRecord, Sequence[Point]], None]
"""Called with an epoch's record and its runs, in the same order."""

OnTrained = Callable[[Sequence[Point], Callable[[int], nn.Module]], None]
"""Called with the runs of a stack, and a function that returns the trained network of one by its index."""

MEMORY_SHARE = 0.25
"""Share of the free memory that one stack may use."""


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """How a group is split into stacks.

    Args:
        sizes: Runs in each stack, in order; 1 is a run that trains alone.
        why: The reason.
    """

    sizes: tuple[int, ...]
    why: str


class GroupRunner:
    """Trains the runs of one group.

    Args:
        group: The runs.
        data_of: Returns the data of a run, and its components; equal data are the same object.
        keeps_rows: Whether the metrics on each test row are kept.
    """

    def __init__(self, group: Group, data_of: StudyData, *, keeps_rows: bool = False) -> None:
        self._group, self._data_of, self._keeps_rows = group, data_of, keeps_rows
        self.on_trained: OnTrained | None = None
        """Called after the last epoch of each stack; the networks can be had until it returns."""
        self._initial: dict[tuple[int, str], tuple[dict[str, Tensor], dict[str, Tensor]]] = {}

    def check(self) -> Assembly:
        """Builds the first run, so that errors are raised before anything is trained.

        Raises:
            CompositionError: Components contradict each other or the run.
            ModelError: The model does not fit the data or the task.
            RequestError: A probe does not fit the model or the task.
        """
        point = self._group.points[0]
        made = assemble(point.config, self._group.components, self._data_of(point))
        probing_of(made).measure(trainer_of(made, probed=True))
        return made

    def chunks(self) -> Chunks:
        """Measures how many runs should train together."""
        points = self._group.points
        if self._group.why_single or len(points) == 1:
            why = self._group.why_single or "it is the only run of its kind"
            return Chunks(sizes=(1,) * len(points), why=why)
        try:
            most = self._fitting()
            if not self.epochs:
                return Chunks(sizes=even_stacks(len(points), most), why="nothing is trained, so nothing is measured")
            with torch.random.fork_rng(devices=[]):
                seconds = self._measure(candidate_sizes(most))
        except CannotLiftError as error:
            return Chunks(sizes=(1,) * len(points), why=f"cannot be stacked: {error}")
        sizes = even_stacks(len(points), best_size(seconds))
        return Chunks(sizes=sizes, why=described(seconds, [most] if most < len(points) else []))

    @property
    def epochs(self) -> int:
        """Epochs of each run."""
        return self._group.points[0].config.epochs

    def rehearse(self, size: int) -> Rehearsal:
        """Measures what a stack of this size costs.

        Args:
            size: Number of runs; 1 for a run that trains alone.
        """
        points = self._group.points[:size]
        return rehearse(
            lambda: self._trainer(points, stacked=size > 1),
            lambda: self._trial(size),
            [self._data_of(point) for point in points],
            points[0].config,
        )

    def run(
        self,
        chunks: Chunks,
        done: Collection[str] = (),
        on_epoch: OnEpoch | None = None,
        progress: Progress | None = None,
    ) -> Iterator[list[PointResult]]:
        """Trains one stack after another and yields the results of each.

        A stack of which some runs are finished is trained as a whole, because a smaller stack multiplies matrices in
        another order; the finished runs are left out of the results.

        Args:
            chunks: The stacks.
            done: Keys of the runs that are already finished.
            on_epoch: Called after each epoch with the record and its runs.
            progress: Saves and restores the stack in training, and ends the training early; by default nothing does.
        """
        progress = progress or Progress()
        finished, start = frozenset(done), 0
        for size in chunks.sizes:
            points = self._group.points[start : start + size]
            start += size
            if all(point.key in finished for point in points):
                continue
            if progress.is_interrupted():
                return
            results = [each for each in self._train(points, on_epoch, progress) if each.point.key not in finished]
            if results:
                yield results

    # One chunk.

    def _train(self, points: Sequence[Point], on_epoch: OnEpoch | None, progress: Progress) -> list[PointResult]:
        """Trains runs together or, if that fails, one by one; a run that fails alone is `FAILED`.

        The results of an interrupted stack are missing.
        """
        began = time.perf_counter()
        try:
            return self._train_together(points, on_epoch, progress)
        except BaseException as error:  # whatever a model or regularizer of somebody's own raises
            if not is_fault(error):
                raise
            if len(points) > 1:
                alone = (self._train([point], on_epoch, progress) for point in points if not progress.is_interrupted())
                return [result for results in alone for result in results]
            return [failed(points[0], message_of(error), time.perf_counter() - began)]

    def _train_together(
        self, points: Sequence[Point], on_epoch: OnEpoch | None, progress: Progress
    ) -> list[PointResult]:
        began = time.perf_counter()
        trainer, made = self._trainer(points, stacked=len(points) > 1)
        probing = probing_of(made)
        digests = [self._data_of.facts(point).judged_digest for point in points] if self._keeps_rows else []
        log = Log(points, probing, made, [self._data_of(point) for point in points], digests)
        began -= progress.restore(points, trainer, log)
        try:
            with threads(made.num_threads(len(points))):
                for record in trainer.train():
                    log.add(record, trainer)
                    if on_epoch is not None:
                        on_epoch(record, points)
                    if progress.ends_after(record, points, trainer, log, time.perf_counter() - began):
                        return []
                trainer.finish()
                log.finish(trainer)
                if self.on_trained is not None:
                    self.on_trained(points, lambda run: self._network(trainer, points[run], run))
        except DivergedError as error:
            if len(points) > 1:
                raise
            return [log.result(0, time.perf_counter() - began, error.message)]
        seconds = (time.perf_counter() - began) / len(points)
        diverged = trainer.state.diverged
        return [log.result(run, seconds, _diverged(diverged[run])) for run in range(len(points))]

    def _network(self, trainer: Trainer, point: Point, run: int) -> nn.Module:
        """Returns the trained network of one run of a stack, made of ordinary modules."""
        made = assemble(point.config, self._data_of.components(point), self._data_of(point))
        return trained_model(trainer, made, run)

    def _trainer(self, points: Sequence[Point], *, stacked: bool, rows: int | None = None) -> tuple[Trainer, Assembly]:
        datas = list({id(data): data for data in map(self._data_of, points)}.values())
        components = self._data_of.components(points[0])
        made = assemble(points[0].config, components, datas[0])
        course = made.course if rows is None else short_course(made.course)
        trainer = Trainer(
            program=made.program,
            rule=made.rule,
            runs=[self._inputs(point, datas, made, rows, stacked) for point in points],
            pools=_pools(datas),
            course=course,
            places=made.network.places,
            stacked=stacked,
            probed=bool(made.components.probes),
        )
        return trainer, made

    def _inputs(
        self, point: Point, datas: Sequence[Prepared], made: Assembly, rows: int | None, stacked: bool
    ) -> RunInputs:
        config, data = point.config, self._data_of(point)
        at = next(i for i, each in enumerate(datas) if each is data)
        params, buffers = self._start(point, data) if stacked else (made.inputs.params, made.inputs.buffers)
        components = self._data_of.components(point)
        own = {} if len(datas) == 1 and rows is None else _rows(datas, at, rows)
        regs = {reg.spec.key: numbers_of(reg.params) for reg in components.regs}
        return RunInputs(
            seed=config.seed,
            rate=config.lr,
            settings={**regs, **loss_settings(components.for_task(data.task))},
            params=params,
            buffers=buffers,
            optimizer=stackable_numbers(components.optimizer),
            limits=data.limits,
            raw=data.raw.train.x,
            **own,
        )

    def _start(self, point: Point, data: Prepared) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Returns the initial tensors: they depend on the seed, and on the data if an initializer sees them."""
        components = self._data_of.components(point)
        key = point.config.seed, data.digest if components.start_sees_data else ""
        if key not in self._initial:
            network = build_network(point.config, components, data)
            self._initial[key] = split_tensors(network.model)
        return self._initial[key]

    # How many at once.

    def _measure(self, sizes: Sequence[int]) -> dict[int, float]:
        """Stack size -> seconds that a step takes for each run."""
        trials = {size: self._trial(size) for size in sizes}
        threads_used = max(trial.threads for trial in trials.values())
        clock = clock_for(threads_used, self._data_of(self._group.points[0]).train.x.device)
        return {size: least / TRIAL_STEPS / size for size, least in least_times(trials, clock).items()}

    def _trial(self, size: int) -> Trial:
        points = self._group.points[:size]
        rows = min(points[0].config.batch_size * TRIAL_STEPS, len(self._data_of(points[0]).train))
        with lifting(size):
            trainer, made = self._trainer(points, stacked=size > 1, rows=rows)
            trial = Trial(trainer, made.num_threads(size), size)
            trainer.evaluate("test")
        trial()  # what is set up at the first step is not timed
        return trial

    def _fitting(self) -> int:
        """Returns how many runs fit into the memory that a stack may use."""
        point = self._group.points[0]
        data = self._data_of(point)
        made = assemble(point.config, self._group.components, data)
        each = bytes_of_a_run(made, shares_rows=self._shares_rows())
        free = free_memory_bytes(data.train.x.device)
        return max(1, min(len(self._group.points), int(MEMORY_SHARE * free / each)))

    def _shares_rows(self) -> bool:
        """Whether all runs take the same rows in the same order, which are then gathered once."""
        return len({(point.config.seed, id(self._data_of(point))) for point in self._group.points}) == 1


def _diverged(where: str) -> str:
    return f"The run diverged: {where}." if where else ""


def _pools(datas: Sequence[Prepared]) -> Pools:
    """Concatenates the rows of all data."""

    def pool(split: str) -> Pool:
        parts = [getattr(data, split) for data in datas]
        if len(parts) == 1:
            return Pool(x=parts[0].x, y=parts[0].y)
        # Runs whose inputs are no tensors are never grouped with those of other data.
        return Pool(x=torch.cat([part.x for part in parts]), y=torch.cat([part.y for part in parts]))

    has_valid = datas[0].valid is not None
    return Pools(train=pool("train"), valid=pool("valid") if has_valid else None, test=pool("test"))


def _rows(datas: Sequence[Prepared], at: int, limit: int | None) -> dict[str, Any]:
    """Returns the row numbers of one run's data in the pools."""
    rows = {}
    for split in ("train", "valid", "test"):
        sizes = [0 if getattr(data, split) is None else len(getattr(data, split)) for data in datas]
        if sizes[at]:
            count = sizes[at] if limit is None else min(limit, sizes[at])
            start = sum(sizes[:at])
            rows[f"{split}_rows"] = torch.arange(start, start + count, device=datas[at].train.x.device)
    return rows


def free_memory_bytes(device: torch.device) -> int:
    """Returns the memory that is currently free, on a GPU or on this machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
