"""The checks of a file whose dropout is live. numpy only.

With its noise off the file is an ordinary one, and is asked what every file is asked. With the noise given it must
answer as the model does with the same numbers. What is left is whether it draws as it should, and that is statistics:
each such check cries wolf with a chance of `ALARM`, shared among all of its outputs (Bonferroni), under the normal
approximation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from regplug.bundles.cases import BATCHES, Reference
from regplug.bundles.causes import cause
from regplug.bundles.clean_process import CleanProcess
from regplug.bundles.formats import Array, Format, NoiseRuns, Run
from regplug.bundles.losses import widened
from regplug.bundles.numbers import LEVELS, TestData, cannot_open, check_run, check_test, worst_error
from regplug.bundles.report import Check, at_most, holds, prefixed
from regplug.bundles.stochastic.record import COPIES, RUNS, Draws, as_passes, asked_rows, stochastic_part
from regplug.bundles.stochastic.uniforms import given_uniforms, mask_shape

ALARM = 1e-7
"""Chance of a false alarm of one statistical check."""

_LEAST_DISTINCT = 2.0


def check_stochastic_file(
    form: Format,
    path: Path,
    known: Sequence[Reference],
    draws: Draws,
    layers: Sequence[Mapping[str, Any]],
    *,
    classes: bool,
    test: TestData | None = None,
) -> list[Check]:
    """Runs every check on a saved file, with the runtime's optimisation on and off.

    Args:
        form: Opens the file.
        path: The file.
        known: What the model puts out without noise, `real` first.
        draws: What it puts out with noise.
        layers: `stochastic.layers` of the manifest.
        classes: Whether the outputs are judged by their largest, too.
        test: The test set on which the optimised file is measured without noise.
    """
    checks: list[Check] = []
    for level, optimised in LEVELS.items():
        try:
            run, runs = form.open(path, optimised=optimised), form.open_noise(path, optimised=optimised)
        except Exception as error:
            checks.append(cannot_open(level, error))
            continue
        off = check_run(runs.off, level, known, classes=classes)
        if test is not None and optimised:
            off += check_test(runs.off, test, classes=classes)
        checks += prefixed("noise_off", off)
        found = _asked("noise_given", _given, runs, draws, layers)
        found += _asked("masks", _drawn, runs, draws, layers)
        found += _asked("live", _live, run, draws)
        checks += [_named(check, level) for check in found]
    return checks


def _asked(name: str, ask: Callable[..., list[Check]], *given: Any) -> list[Check]:
    try:
        return ask(*given)
    except Exception as error:
        return [holds(name, False, f"the file raises: {_line(error)}")]


def _given(runs: NoiseRuns, draws: Draws, layers: Sequence[Mapping[str, Any]]) -> list[Check]:
    """With given numbers in the place of drawn ones the file answers as the model does with the same."""
    real = draws.given.inputs
    # The numbers may be many. None are made for masks that the file does not draw.
    found = [numbers.shape for numbers, _ in runs.drawn(real[:2])]
    wanted = [mask_shape(layer["mask"], 2) for layer in layers]
    if found != wanted:
        return [holds("noise_given", False, f"for two rows it draws {found}; the manifest says {wanted}")]
    error = worst_error(runs.given(real, given_uniforms(layers, len(real))), draws.given.outputs)
    return [at_most("noise_given", error, draws.given.tolerance, "largest difference from torch with the same numbers")]


def _drawn(runs: NoiseRuns, draws: Draws, layers: Sequence[Mapping[str, Any]]) -> list[Check]:
    drawn = runs.drawn(draws.given.inputs)
    return [
        layers_live(len(drawn), layers),
        rates([rate for _, rate in drawn], layers),
        masks([numbers for numbers, _ in drawn], layers, len(draws.given.inputs)),
    ]


def layers_live(found: int, layers: Sequence[Mapping[str, Any]]) -> Check:
    """As many places draw as dropout layers are called."""
    detail = f"places that draw; {len(layers)} calls of dropout layers are live in the model"
    return Check(
        name="layers_live", passed=found == len(layers), figure=float(found), limit=float(len(layers)), detail=detail
    )


def rates(found: Sequence[float], layers: Sequence[Mapping[str, Any]]) -> Check:
    """What each place compares its draws with is the layer's rate."""
    if len(found) != len(layers):
        return holds("rates", False, f"{len(found)} rates for {len(layers)} layers")
    errors = [abs(rate - layer["rate"]) for rate, layer in zip(found, layers, strict=True)]
    worst = float(np.max(errors))
    detail = f"largest difference of a rate; found {', '.join(f'{rate:g}' for rate in found)}"
    return at_most("rates", worst, float(np.finfo(np.float32).eps), detail)


def masks(drawn: Sequence[Array], layers: Sequence[Mapping[str, Any]], rows: int) -> Check:
    """Each place draws a number for each entry of its mask, each row its own, and below the rate as often as it should.

    The chance of a share q in place of p among n is at most exp(-n KL(q, p)) on either side (Chernoff), for any n.
    """
    if len(drawn) != len(layers):
        return holds("masks", False, f"{len(drawn)} masks for {len(layers)} layers")
    scores = []
    for numbers, layer in zip(drawn, layers, strict=True):
        want, rate = mask_shape(layer["mask"], rows), layer["rate"]
        if numbers.shape != want:
            return holds("masks", False, f"{layer['name']} draws {numbers.shape} for {rows} rows, not {want}")
        if numbers.min() < 0 or numbers.max() > 1:
            return holds("masks", False, f"{layer['name']} draws from {numbers.min():.3g} to {numbers.max():.3g}")
        scores.append(numbers.size * _divergence(float((numbers < rate).mean()), rate))
    limit = math.log(2 * len(scores) / ALARM)
    detail = f"shapes as in torch; -log of the chance of the share dropped, the smallest of {len(scores)} layers"
    return at_most("masks", max(scores), limit, detail)


def _divergence(share: float, rate: float) -> float:
    """Kullback-Leibler divergence of two coins."""
    pairs = ((share, rate), (1 - share, 1 - rate))
    return sum(one * math.log(one / other) for one, other in pairs if one > 0)


def _live(run: Run, draws: Draws) -> list[Check]:
    asked = asked_rows(draws.given.inputs)
    runs = [as_passes(run(asked)) for _ in range(RUNS)]
    passes = np.concatenate(runs)
    if passes.shape != draws.passes.shape or not np.isfinite(passes).all():
        return [
            holds("finite", False, f"live answers {passes.shape}, torch's {draws.passes.shape}, or some not finite")
        ]
    return [
        holds("finite", True, f"{len(passes)} live answers to each row are finite"),
        _batches(run, draws.given.inputs, passes.shape[-1]),
        repeats_differ(runs),
        rows_differ(runs),
        rows_independent(np.stack(runs)),
        mean_agrees(passes, draws.passes, draws.given.tolerance),
        spread_agrees(passes, draws.passes, draws.given.tolerance),
    ]


def _batches(run: Run, real: Array, width: int) -> Check:
    wrong = [size for size in BATCHES if run(np.resize(real, (size, *real.shape[1:]))).shape != (size, width)]
    return at_most("batches", len(wrong), 0, f"batches of {', '.join(map(str, BATCHES))} rows that it does not take")


def repeats_differ(runs: Sequence[Array]) -> Check:
    """The same batch gives other answers when it is asked again."""
    distinct = len({answers.tobytes() for answers in runs})
    detail = f"distinct answers to one batch asked {len(runs)} times; the limit is the least allowed"
    return _at_least("repeats_differ", distinct, _LEAST_DISTINCT, detail)


def rows_differ(runs: Sequence[Array]) -> Check:
    """One row that stands many times in a batch is answered differently there."""
    distinct = max(len(np.unique(answers[:, row], axis=0)) for answers in runs for row in range(answers.shape[1]))
    detail = f"distinct answers to {COPIES} copies of a row in one batch; the limit is the least allowed"
    return _at_least("rows_differ", distinct, _LEAST_DISTINCT, detail)


def rows_independent(runs: Array) -> Check:
    """Copies of a row in one batch are as different as copies in different batches: no mask is shared over the batch.

    F = C var(means of the batches) / mean(variance within a batch), about chi-square of R - 1 degrees divided by them.

    Args:
        runs: Answers `(R, C, rows, K)`: batches, copies.
    """
    between, within = runs.mean(1, dtype=np.float64).var(0, ddof=1), runs.var(1, ddof=1, dtype=np.float64).mean(0)
    is_live = between > 0
    scores = runs.shape[1] * between[is_live] / np.maximum(within[is_live], np.finfo(np.float64).tiny)
    degrees = len(runs) - 1
    limit = _chi_square_limit(degrees, alarm_limit(between.size)) / degrees
    return at_most("rows_independent", float(scores.max(initial=0.0)), limit, "F of batches of copies of one row")


def mean_agrees(got: Array, want: Array, tolerance: float) -> Check:
    """The mean over passes is torch's.

    z = (|m1 - m2| - tolerance) / sqrt(s1^2 / N1 + s2^2 / N2), the largest over rows and outputs

    Args:
        got: Live answers of the file `(N, rows, K)`.
        want: Live answers of torch `(N, rows, K)`.
        tolerance: Of one answer.
    """
    detail = f"largest z of the mean over {len(got)} passes against torch's {len(want)}, {got[0].size} outputs"
    return at_most("mean", _largest_z(got, want, tolerance), alarm_limit(got[0].size), detail)


def spread_agrees(got: Array, want: Array, tolerance: float) -> Check:
    """The variance over passes is torch's: `mean_agrees` of the squared deviations from the mean of the passes."""
    ours, theirs = ((answers - answers.mean(0, dtype=np.float64)) ** 2 for answers in (got, want))
    slack = 2 * tolerance * math.sqrt(float(theirs.mean(0).max())) + tolerance**2
    detail = f"largest z of the variance over {len(got)} passes against torch's {len(want)}, {got[0].size} outputs"
    return at_most("spread", _largest_z(ours, theirs, slack), alarm_limit(got[0].size), detail)


def _largest_z(got: Array, want: Array, slack: float) -> float:
    gap = np.abs(got.mean(0, dtype=np.float64) - want.mean(0, dtype=np.float64)) - slack
    error = np.sqrt(sum(answers.var(0, ddof=1, dtype=np.float64) / len(answers) for answers in (got, want)))
    return float((np.maximum(gap, 0.0) / np.maximum(error, np.finfo(np.float64).tiny)).max())


def alarm_limit(tests: int) -> float:
    """The z that one of so many normal numbers exceeds, in absolute value, with a chance of at most `ALARM`.

    >>> round(alarm_limit(20), 2)
    5.85
    """
    return -NormalDist().inv_cdf(ALARM / (2 * tests))


def _chi_square_limit(degrees: int, z: float) -> float:
    """Wilson and Hilferty 1931: the number that a chi-square exceeds as often as a normal number exceeds z."""
    return float(degrees * (1 - 2 / (9 * degrees) + z * math.sqrt(2 / (9 * degrees))) ** 3)


def clean_check(
    process: CleanProcess, form: Format, path: Path, known: Sequence[Reference], manifest: Mapping[str, Any]
) -> Check:
    """Judges what a process of its own answered.

    Args:
        process: Runs the file.
        form: Opens it here.
        path: The file.
        known: What the model puts out, `real` first.
        manifest: Says whether the file is stochastic.
    """
    real = widened(known, form.loss)[0]
    if stochastic_part(manifest) is None:
        return process.check(real)
    here = form.open(path, optimised=True)(real.inputs)
    return process.judge(lambda outputs: _judge_live(outputs, here, real))


def _judge_live(outputs: Array, here: Array, off: Reference) -> Check:
    """What a process without torch answered: as many rows, finite, with noise, and other noise than here."""
    name, detail = "clean_process", "runs where torch is not imported, and draws other numbers than this process"
    if outputs.shape != off.outputs.shape or not np.isfinite(outputs).all():
        return holds(name, False, f"it answers {outputs.shape}, or NaN")
    if worst_error(outputs, off.outputs) <= off.tolerance:
        return holds(name, False, "it answers without noise")
    if np.array_equal(outputs, here):
        return holds(name, False, "every process draws the same numbers")
    return holds(name, True, detail)


def _at_least(name: str, figure: float, limit: float, detail: str) -> Check:
    return Check(name=name, passed=figure >= limit, figure=float(figure), limit=limit, detail=detail)


def _named(check: Check, level: str) -> Check:
    return Check(
        name=f"{check.name}.{level}", passed=check.passed, figure=check.figure, limit=check.limit, detail=check.detail
    )


def _line(error: BaseException) -> str:
    return cause(error)
