"""Measures what a stack costs, without training it to the end."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from regplug.config import RunConfig
from regplug.data import Prepared
from regplug.errors import DivergedError
from regplug.measuring.final_metrics import measure_final
from regplug.registry.faults import is_fault
from regplug.runs.assembly import Assembly, threads
from regplug.studies.stacks.stack_size import TRIAL_STEPS
from regplug.studies.stacks.trial import CannotLiftError, Trial
from regplug.training.loop import Trainer

SHORT_EPOCH_S = 1.0
"""An epoch of up to this long is rehearsed as a whole; of a longer one, a few steps and one evaluation."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a stack costs in seconds of wall-clock time.

    Args:
        epoch_s: An epoch, evaluation included.
        around_s: Before the first and after the last epoch.
    """

    epoch_s: float
    around_s: float


def rehearse(
    make: Callable[[], tuple[Trainer, Assembly]],
    make_trial: Callable[[], Trial],
    datas: Sequence[Prepared],
    config: RunConfig,
) -> Rehearsal:
    """Measures what a stack costs; nothing if it fails, because its runs then fail as well.

    Args:
        make: Returns a new trainer of the stack.
        make_trial: Returns a trial of the stack.
        datas: The data of each run.
        config: One of its runs.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            return _measured(make, make_trial, datas, config)
    except BaseException as error:  # whatever a model or regularizer of somebody's own raises
        if isinstance(error, CannotLiftError | DivergedError) or is_fault(error):
            return Rehearsal(epoch_s=0.0, around_s=0.0)
        raise


def _measured(
    make: Callable[[], tuple[Trainer, Assembly]],
    make_trial: Callable[[], Trial],
    datas: Sequence[Prepared],
    config: RunConfig,
) -> Rehearsal:
    began = time.perf_counter()
    trainer, made = make()
    built_s = time.perf_counter() - began
    with threads(made.num_threads(len(datas))):
        trial = make_trial()
        steps = -(-len(datas[0].train) // config.batch_size)
        stepping_s = min(_seconds(trial), _seconds(trial)) / TRIAL_STEPS * steps
        ended_s = _seconds(lambda: measure_final(trainer, datas))
        # The evaluation at the end, of all splits, stands for that of an epoch.
        epoch_s = stepping_s + ended_s / config.evaluate_every
        if epoch_s < SHORT_EPOCH_S:
            records = list(itertools.islice(trainer.train(), 2))
            epoch_s = records[-1].seconds if records else 0.0
    return Rehearsal(epoch_s=epoch_s, around_s=built_s + ended_s)


def _seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began
