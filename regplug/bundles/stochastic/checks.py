"""The checks of a file with live dropout. numpy only.

With its noise off, the file must pass the checks of every file. With supplied noise, it must give the model's outputs
for the same numbers. Only the runtime's own draws need statistical checks: each has a false alarm rate of `ALARM` over
all of its outputs (Bonferroni), under the normal approximation.
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
from regplug.bundles.decisions import Decision
from regplug.bundles.differences import worst_error
from regplug.bundles.formats import Array, Format, NoiseRuns, Run
from regplug.bundles.losses import widened
from regplug.bundles.numbers import LEVELS, cannot_open, check_run
from regplug.bundles.report import Check, at_most, holds, prefixed
from regplug.bundles.stochastic.record import COPIES, RUNS, Draws, as_passes, asked_rows, stochastic_part
from regplug.bundles.stochastic.uniforms import given_uniforms, mask_shape
from regplug.bundles.test_set import TestData, check_test

ALARM = 1e-7
"""False alarm rate of one statistical check."""

_LEAST_DISTINCT = 2.0


def check_stochastic_file(
    form: Format,
    path: Path,
    known: Sequence[Reference],
    draws: Draws,
    layers: Sequence[Mapping[str, Any]],
    *,
    decision: Decision | None,
    test: TestData | None = None,
) -> list[Check]:
    """Runs every check on a saved file, with the runtime's optimisation on and off.

    Args:
        form: Opens the file.
        path: The file.
        known: The model's outputs without noise, `real` first.
        draws: The model's outputs with noise.
        layers: `stochastic.layers` of the manifest.
        decision: How outputs become predictions, which are also compared; `None` for values.
        test: The test set on which the optimised file is evaluated without noise.
    """
    checks: list[Check] = []
    for level, optimised in LEVELS.items():
        try:
            run, runs = form.open(path, optimised=optimised), form.open_noise(path, optimised=optimised)
        except Exception as error:
            checks.append(cannot_open(level, error))
            continue
        off = check_run(runs.off, level, known, decision=decision, optimised=optimised)
        if test is not None and optimised:
            off += check_test(runs.off, test, decision=decision)
        checks += [*prefixed("noise_off", off), *check_noise(run, runs, level, draws, layers)]
    return checks


def check_noise(
    run: Run, runs: NoiseRuns, level: str, draws: Draws, layers: Sequence[Mapping[str, Any]]
) -> list[Check]:
    """Runs the checks of an opened file's noise.

    Args:
        run: Runs the file as in deployment.
        runs: Runs it with its noise off, supplied or inspected.
        level: Name of the runtime's optimisation.
        draws: The model's outputs with noise.
        layers: `stochastic.layers` of the manifest.
    """
    found = _asked("noise_given", _given, runs, draws, layers)
    found += _asked("masks", _drawn, runs, draws, layers)
    found += _asked("live", _live, run, draws)
    return [_named(check, level) for check in found]


def _asked(name: str, ask: Callable[..., list[Check]], *given: Any) -> list[Check]:
    try:
        return ask(*given)
    except Exception as error:
        return [holds(name, False, f"the file raises: {_line(error)}")]


def _given(runs: NoiseRuns, draws: Draws, layers: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Checks that with supplied numbers the file gives the model's outputs for the same numbers."""
    real = draws.given.inputs
    # There may be many numbers. Skips masks that the file does not draw.
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
    """Checks that the graph draws once for each call of a dropout layer."""
    detail = f"places that draw; {len(layers)} calls of dropout layers are live in the model"
    return Check(
        name="layers_live", passed=found == len(layers), figure=float(found), limit=float(len(layers)), detail=detail
    )


def rates(found: Sequence[float], layers: Sequence[Mapping[str, Any]]) -> Check:
    """Checks that each draw is compared with its layer's rate."""
    if len(found) != len(layers):
        return holds("rates", False, f"{len(found)} rates for {len(layers)} layers")
    errors = [abs(rate - layer["rate"]) for rate, layer in zip(found, layers, strict=True)]
    worst = float(np.max(errors))
    detail = f"largest difference of a rate; found {', '.join(f'{rate:g}' for rate in found)}"
    return at_most("rates", worst, float(np.finfo(np.float32).eps), detail)


def masks(drawn: Sequence[Array], layers: Sequence[Mapping[str, Any]], rows: int) -> Check:
    """Checks that each draw has the shape of its mask, and the right share of numbers below the rate.

    The probability of a share q instead of p among n is at most exp(-n KL(q, p)) on either side (Chernoff), for any n.
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
    detail = f"shapes as in torch; -log of the probability of the dropped share, the smallest of {len(scores)} layers"
    return at_most("masks", max(scores), limit, detail)


def _divergence(share: float, rate: float) -> float:
    """Returns the Kullback-Leibler divergence of two Bernoulli distributions."""
    pairs = ((share, rate), (1 - share, 1 - rate))
    return sum(one * math.log(one / other) for one, other in pairs if one > 0)


def _live(run: Run, draws: Draws) -> list[Check]:
    asked = asked_rows(draws.given.inputs)
    runs = [as_passes(run(asked)) for _ in range(RUNS)]
    passes = np.concatenate(runs)
    if passes.shape != draws.passes.shape or not np.isfinite(passes).all():
        return [
            holds("finite", False, f"random outputs {passes.shape}, torch's {draws.passes.shape}, or some not finite")
        ]
    return [
        holds("finite", True, f"{len(passes)} random outputs for each row are finite"),
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
    """Checks that the same batch gives different outputs when it is run again."""
    distinct = len({answers.tobytes() for answers in runs})
    detail = f"distinct outputs of one batch run {len(runs)} times; the limit is the least allowed"
    return _at_least("repeats_differ", distinct, _LEAST_DISTINCT, detail)


def rows_differ(runs: Sequence[Array]) -> Check:
    """Checks that copies of one row in a batch get different outputs."""
    distinct = max(len(np.unique(answers[:, row], axis=0)) for answers in runs for row in range(answers.shape[1]))
    detail = f"distinct outputs of {COPIES} copies of a row in one batch; the limit is the least allowed"
    return _at_least("rows_differ", distinct, _LEAST_DISTINCT, detail)


def rows_independent(runs: Array) -> Check:
    """Checks that copies of a row differ as much within a batch as across batches, so no mask is shared in a batch.

    F = C var(means of the batches) / mean(variance within a batch), approximately chi-square with R - 1 degrees of
    freedom, divided by R - 1.

    Args:
        runs: Outputs `(R, C, rows, K)`: batches, copies.
    """
    between, within = runs.mean(1, dtype=np.float64).var(0, ddof=1), runs.var(1, ddof=1, dtype=np.float64).mean(0)
    is_live = between > 0
    scores = runs.shape[1] * between[is_live] / np.maximum(within[is_live], np.finfo(np.float64).tiny)
    degrees = len(runs) - 1
    limit = _chi_square_limit(degrees, alarm_limit(between.size)) / degrees
    return at_most("rows_independent", float(scores.max(initial=0.0)), limit, "F of batches of copies of one row")


def mean_agrees(got: Array, want: Array, tolerance: float) -> Check:
    """Checks that the mean over passes equals torch's.

    z = (|m1 - m2| - tolerance) / sqrt(s1^2 / N1 + s2^2 / N2), the largest over rows and outputs

    Args:
        got: Random outputs of the file `(N, rows, K)`.
        want: Random outputs of torch `(N, rows, K)`.
        tolerance: Tolerance of one output.
    """
    detail = f"largest z of the mean over {len(got)} passes against torch's {len(want)}, {got[0].size} outputs"
    return at_most("mean", _largest_z(got, want, tolerance), alarm_limit(got[0].size), detail)


def spread_agrees(got: Array, want: Array, tolerance: float) -> Check:
    """Checks that the variance over passes equals torch's: `mean_agrees` of the squared deviations from the mean."""
    ours, theirs = ((answers - answers.mean(0, dtype=np.float64)) ** 2 for answers in (got, want))
    slack = 2 * tolerance * math.sqrt(float(theirs.mean(0).max())) + tolerance**2
    detail = f"largest z of the variance over {len(got)} passes against torch's {len(want)}, {got[0].size} outputs"
    return at_most("spread", _largest_z(ours, theirs, slack), alarm_limit(got[0].size), detail)


def _largest_z(got: Array, want: Array, slack: float) -> float:
    gap = np.abs(got.mean(0, dtype=np.float64) - want.mean(0, dtype=np.float64)) - slack
    error = np.sqrt(sum(answers.var(0, ddof=1, dtype=np.float64) / len(answers) for answers in (got, want)))
    return float((np.maximum(gap, 0.0) / np.maximum(error, np.finfo(np.float64).tiny)).max())


def alarm_limit(tests: int) -> float:
    """Returns the z that the largest of this many normal numbers exceeds in absolute value with probability `ALARM`.

    >>> round(alarm_limit(20), 2)
    5.85
    """
    return -NormalDist().inv_cdf(ALARM / (2 * tests))


def _chi_square_limit(degrees: int, z: float) -> float:
    """Returns the quantile of chi-square that corresponds to z of a normal distribution (Wilson and Hilferty 1931)."""
    return float(degrees * (1 - 2 / (9 * degrees) + z * math.sqrt(2 / (9 * degrees))) ** 3)


def clean_check(
    process: CleanProcess, form: Format, path: Path, known: Sequence[Reference], manifest: Mapping[str, Any]
) -> Check:
    """Checks the outputs of a separate process.

    Args:
        process: Runs the file.
        form: Opens it here.
        path: The file.
        known: The model's outputs, `real` first.
        manifest: The manifest, which tells whether the file is stochastic.
    """
    real = widened(known, form.loss)[0]
    if stochastic_part(manifest) is None:
        return process.check(real)
    here = form.open(path, optimised=True)(real.inputs)
    return process.judge(lambda outputs: judge_live(outputs, here, real))


def judge_live(outputs: Array, here: Array, off: Reference) -> Check:
    """Checks the outputs of a process without torch: same rows, finite, with noise, and other noise than here."""
    name, detail = "clean_process", "runs where torch is not imported, and draws other numbers than this process"
    if outputs.shape != off.outputs.shape or not np.isfinite(outputs).all():
        return holds(name, False, f"it returns {outputs.shape}, or NaN")
    if worst_error(outputs, off.outputs) <= off.tolerance:
        return holds(name, False, "it has no noise")
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
