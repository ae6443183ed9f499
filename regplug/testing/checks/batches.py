"""The data phase: what a regularizer does to a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from regplug.api import Regularizer
from regplug.regularization.composition import overrides
from regplug.testing import bench
from regplug.testing.building import all_networks, make_rig, networks_of
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.checks.layer_noise import MEAN_DRAWS, STANDARD_ERRORS, require_stochastic
from regplug.testing.generators import generators_untouched, seeded_globally
from regplug.testing.rig import Rig
from regplug.testing.subject import Subject
from regplug.testing.tags import KEEPS_MEAN
from regplug.testing.trainings import same_bits
from regplug.testing.values import off_values

_SUM = 1e-6


def _rigs(
    subject: Subject, dtype: torch.dtype = torch.float64, values: Mapping[str, object] | None = None
) -> Iterator[Rig]:
    for task in subject.descriptor(Regularizer).tasks:
        for name in _of_each_shape(subject):
            own = all_networks(subject)[name].task(task)
            rig = make_rig(subject, name, dtype=dtype, task=own, values=values)
            if not overrides(rig.functions, "batch"):
                raise NotApplicable("it has no function `batch`")
            yield rig


def _of_each_shape(subject: Subject) -> list[str]:
    """One network for each shape of inputs and outputs: a batch is the same for the others."""
    networks = all_networks(subject)
    shapes = {(networks[name].input_shape, networks[name].num_outputs): name for name in networks_of(subject)}
    return list(shapes.values())


def _targets(rig: Rig, rows: int) -> Tensor:
    """Returns targets as the host passes them: probabilities if the regularizer needs them."""
    y = rig.y(rows)
    return F.one_hot(y, rig.task.num_outputs).to(rig.dtype) if rig.functions.needs_soft_targets and _is_class(y) else y


def _is_class(y: Tensor) -> bool:
    return not y.is_floating_point()


def _batch(rig: Rig, rows: int = bench.BATCH, seed: int = 0) -> tuple[Tensor, Tensor]:
    noise = rig.noise(rows=rows, seed=seed)[0]
    with attempting(f"a batch of {rows} rows"):
        return rig.functions.batch(rig.own_step(noise), rig.x(rows), _targets(rig, rows))


def batch_keeps_shapes_and_dtypes(subject: Subject) -> None:
    """A batch of another shape or number format, or a function that fails on a small last batch."""
    for dtype in (torch.float32, torch.float64):
        for rig in _rigs(subject, dtype):
            for rows in (1, 2, bench.BATCH):
                x, y = _batch(rig, rows)
                for what, got, had in (("inputs", x, rig.x(rows)), ("targets", y, _targets(rig, rows))):
                    told = f"{rig.name}, {rig.task.kind}: {what} become {got.dtype} {tuple(got.shape)}"
                    expect(got.shape == had.shape and got.dtype == had.dtype, told)
                    expect(torch.isfinite(got).all(), f"{rig.name}: {what} are not finite")


def targets_stay_targets(subject: Subject) -> None:
    """Probabilities that do not sum to one, or classes that do not exist."""
    for rig in _rigs(subject):
        if rig.task.kind == "regression":
            continue
        for seed in range(5):
            _, y = _batch(rig, seed=seed)
            if _is_class(y):
                expect(
                    int(y.min()) >= 0 and int(y.max()) < rig.task.num_outputs,
                    f"{rig.name}: classes run to {int(y.max())}",
                )
            else:
                expect(float(y.min()) >= -_SUM, f"{rig.name}: a probability is {float(y.min()):.3g}")
                expect(float(y.max()) <= 1 + _SUM, f"{rig.name}: a probability is {float(y.max()):.3g}")
            if rig.task.is_classification and not _is_class(y):
                off = float((y.sum(1) - 1).abs().max())
                expect(off < _SUM, f"{rig.name}: the probabilities of a row sum to 1 +- {off:.3g}")


def batch_is_not_written(subject: Subject) -> None:
    """An in-place change: the rows in memory are the user's data, and would be changed again in each epoch."""
    for rig in _rigs(subject):
        x, y, noise = rig.x(), _targets(rig, bench.BATCH), rig.noise()[0]
        before = [x.clone(), y.clone()]
        with attempting("a batch"):
            rig.functions.batch(rig.own_step(noise), x, y)
        expect(same_bits([x, y], before), f"{rig.name}: the batch was changed in place")


def same_seed_same_batch(subject: Subject) -> None:
    """Noise from a global generator: the run's seed would not decide the batch."""
    for rig in _rigs(subject):
        made = []
        for seed in (1, 2):
            with seeded_globally(seed), generators_untouched("changing a batch"):
                made.append(_batch(rig, seed=5))
        expect(same_bits(*made), f"{rig.name}: the batch depends on a global generator")


def other_seed_other_batch(subject: Subject) -> None:
    """A random change that is the same in every step."""
    require_stochastic(subject)
    for rig in _rigs(subject):
        expect(not same_bits(_batch(rig, seed=1), _batch(rig, seed=2)), f"{rig.name}: two seeds give the same batch")


def batch_is_exact_where_off(subject: Subject) -> None:
    """A change that remains when the strength is off."""
    fields = off_values(subject)
    if not fields:
        raise NotApplicable("no parameter declares a value at which it changes nothing: Stackable(off=...)")
    for field, off in fields.items():
        for rig in _rigs(subject, values={field: off}):
            x, y = _batch(rig)
            same = same_bits([x, y], [rig.x(), _targets(rig, bench.BATCH)])
            expect(same, f"{rig.name}: {field}={off} changes the batch")


def batch_mean_is_kept(subject: Subject) -> None:
    """Noise with a nonzero mean: the network would be trained on shifted inputs."""
    if KEEPS_MEAN not in subject.component.tags:
        raise NotApplicable(f"it has no tag {KEEPS_MEAN}")
    for rig in _rigs(subject):
        x, y = rig.x(), _targets(rig, bench.BATCH)
        generator = torch.Generator().manual_seed(7)
        mixtures = torch.rand((8, x.numel()), generator=generator, dtype=x.dtype) - 0.5
        mixtures[0] = 1.0
        gaps = torch.stack(
            [
                mixtures @ (rig.functions.batch(rig.own_step(noise), x, y)[0] - x).flatten()
                for noise in rig.noise(steps=MEAN_DRAWS, seed=11)
            ]
        )
        error = gaps.std(0) / MEAN_DRAWS**0.5
        worst = float((gaps.mean(0).abs() - STANDARD_ERRORS * error - 1e-9).max())
        expect(worst <= 0, f"{rig.name}: the mean of the inputs changes, although it declares to keep it")


CHECKS = (
    batch_keeps_shapes_and_dtypes,
    targets_stay_targets,
    batch_is_not_written,
    same_seed_same_batch,
    other_seed_other_batch,
    batch_is_exact_where_off,
    batch_mean_is_kept,
)
