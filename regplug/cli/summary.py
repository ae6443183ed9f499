"""The results of a run as a short table, whose paths and commands can be copied."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from regplug.config import RunConfig

if TYPE_CHECKING:
    from regplug.bundles.report import Report
    from regplug.runs.results import RunResult

_LABELS = {
    "test/accuracy": "test accuracy",
    "test/exact_match": "test exact match",
    "test/label_accuracy": "test label accuracy",
    "test/loss": "test loss",
    "test/rmse": "test RMSE",
    "test/mae": "test MAE",
    "test/r2": "test R2",
}

Row = tuple[str, str]


def summarize(result: RunResult, store_options: str = "") -> list[Row]:
    """Returns the table at the end of a run: label and value.

    Args:
        result: The result of the run.
        store_options: Options that `regplug ui` needs to find the run.
    """
    rows = [("run", f"{result.run_name}: {result.status} in {sum(result.seconds.values()):.1f} s")]
    rows += [("inputs", result.kept)] if result.kept else []
    rows += metric_rows(result.metrics)
    rows += [("probes", probe_costs(result))] if result.config.probe != RunConfig().probe else []
    if result.guess:
        rows.append(("warning", f"no better than guessing: {result.guess}"))
    rows.append(("tracked", f"{result.experiment}, run {result.run_id[:8]}, in {result.tracking_uri}"))
    rows += [("MLflow", result.runs_url)] if result.runs_url else []
    if result.bundle_path is not None:
        rows.append(("bundle", str(result.bundle_path)))
    if result.verification is not None:
        rows.append(("checks", describe_checks(result.verification)))
    return rows + _labelled("next", next_commands(result, store_options))


def metric_rows(metrics: Mapping[str, float]) -> list[Row]:
    """Returns the test metrics of a run; accuracy with its interval.

    >>> metric_rows({"test/accuracy": 0.95, "test/accuracy_low": 0.92, "test/accuracy_high": 0.97})
    [('test accuracy', '0.9500 (95 % interval 0.9200 to 0.9700)')]
    """
    rows = []
    for name, label in _LABELS.items():
        if name not in metrics:
            continue
        text = format_figure(metrics[name])
        if f"{name}_low" in metrics and f"{name}_high" in metrics:
            low, high = format_figure(metrics[f"{name}_low"]), format_figure(metrics[f"{name}_high"])
            text += f" (95 % interval {low} to {high})"
        rows.append((label, text))
    return rows


def probe_costs(result: RunResult) -> str:
    """Returns the time that each probe took, and its share of the training."""
    parts = [f"{key} {seconds:.2f} s" for key, seconds in result.probe_seconds.items()]
    share = sum(result.probe_seconds.values()) / max(result.seconds.get("training", 0.0), 1e-9)
    return f"{', '.join(parts)}: {share:.1%} of the training's time" if parts else "none"


def format_figure(value: float) -> str:
    """Returns a number with four decimals, or with four significant digits if it is very small or large.

    >>> [format_figure(value) for value in (0.97214, 1.5e-05, 0.0, 12345.678)]
    ['0.9721', '1.5e-05', '0.0000', '1.235e+04']
    """
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.4g}"


def describe_checks(report: Report) -> str:
    """Returns the number of passed checks, in total and by part."""
    passed = len(report.checks) - len(report.failures)
    parts = Counter(check.name.partition(".")[0] for check in report.checks)
    listed = ", ".join(f"{part} {number}" for part, number in parts.items())
    return f"{passed} of {len(report.checks)} passed ({listed})"


def next_commands(result: RunResult, store_options: str = "") -> list[str]:
    """Returns three useful next commands."""
    tail = f" {store_options}" if store_options else ""
    if result.bundle_path is None:
        shown = f"regplug runs show {result.run_id[:8]}{tail}"
        return [shown, f"regplug runs list{tail}", f"regplug ui{tail}"]
    bundle, sample = shlex.quote(str(result.bundle_path)), shlex.quote(str(result.bundle_path / "sample_input.npz"))
    return [f"regplug verify {bundle}", f"regplug predict {bundle} {sample}", f"regplug ui{tail}"]


def lines_of(rows: Sequence[Row]) -> Iterator[str]:
    """Yields the rows as lines with aligned values."""
    width = max((len(label) for label, _ in rows), default=0)
    for label, value in rows:
        yield f"{label:<{width}}  {value}"


def _labelled(label: str, values: Sequence[str]) -> list[Row]:
    return [(label if index == 0 else "", value) for index, value in enumerate(values)]
