"""Checks whether the settings of a study can be compared, and warns of biased ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from regplug.api import Task
from regplug.data import Prepared
from regplug.errors import RequestError, did_you_mean
from regplug.measuring.metrics import metric_names
from regplug.runs.assembly import Assembly
from regplug.runs.choosing import find_choosers
from regplug.runs.data_facts import DataFacts
from regplug.studies.design.points import Point

MOST_NAMED = 3


def check_data(points: Sequence[Point], facts_of: Callable[[Point], DataFacts], tasks: Collection[Task]) -> list[str]:
    """Returns a warning if the settings are evaluated on different rows.

    Args:
        points: The runs.
        facts_of: Returns the facts about a run's data.
        tasks: The tasks of the runs.

    Raises:
        RequestError: The study has several datasets, or several splits of one.
    """
    differing = [path for path in _paths(points, "dataset") if _judged_differ(points, facts_of)]
    if not differing:
        return []
    if "dataset" in differing or len({(task.kind, task.num_outputs) for task in tasks}) > 1:
        raise RequestError(
            "The values of the axis dataset are evaluated on different rows, and metrics on different data cannot be "
            "ranked together.",
            hint="Run one study for each dataset, then rank the settings over them: regplug compare STUDY STUDY",
        )
    return [
        f"The settings of {', '.join(differing)} are evaluated on different rows: differences between them may come "
        "from the data."
    ]


def _paths(points: Sequence[Point], field: str) -> list[str]:
    paths = dict.fromkeys(path for point in points for path in point.setting.values)
    return [path for path in paths if path.partition(".")[0] == field]


def _judged_differ(points: Sequence[Point], facts_of: Callable[[Point], DataFacts]) -> bool:
    judged: dict[object, set[str]] = {}
    for point in points:
        judged.setdefault((point.config.data_seed, point.fold), set()).add(facts_of(point).judged_digest)
    return any(len(digests) > 1 for digests in judged.values())


def choose_metric(asked: str, data: Prepared, losses: Collection[str]) -> str:
    """Returns the metric that chooses the best setting; empty if there are no validation rows.

    Args:
        asked: The metric in the configuration; empty for validation accuracy or loss.
        data: Data of the first run.
        losses: Names of the losses of all runs.

    Raises:
        RequestError: The runs do not measure it, or it is the loss and the runs have different losses.
    """
    known = [f"valid/{name}" for name in metric_names(data.task)]
    if asked and data.valid is None:
        raise _no_validation(data, f"metric={asked} is not measured in this study.")
    if asked and asked not in known:
        raise RequestError(f"metric={asked} is not measured in this study.", hint=did_you_mean(asked, known))
    if asked == "valid/loss" and len(losses) > 1:
        others = " or ".join(f"--metric {name}" for name in known[1:3])
        raise RequestError(
            f"valid/loss cannot be compared between the losses {', '.join(sorted(losses))}.",
            hint=f"Choose a metric that they share: {others}.",
        )
    if asked or data.valid is None:
        return asked
    return f"valid/{_default_quantity(data, losses)}"


def compared_metric(chosen_by: str, data: Prepared, losses: Collection[str], *, is_folded: bool) -> str:
    """Returns the metric that compares the settings.

    Args:
        chosen_by: The validation metric that chooses the best setting; empty if none is chosen.
        data: Data of the first run.
        losses: Names of the losses of all runs.
        is_folded: Whether the study is a cross-validation, whose folds were held out.
    """
    return chosen_by if is_folded else f"test/{chosen_by.partition('/')[2] or _default_quantity(data, losses)}"


def _default_quantity(data: Prepared, losses: Collection[str]) -> str:
    if data.task.is_classification:
        return "accuracy"
    if len(losses) == 1:
        return "loss"
    return "label_accuracy" if data.task.is_multilabel else "rmse"


def require_choosable(metric: str, points: Sequence[Point], data: Prepared) -> None:
    """Checks that a setting can be chosen: there are validation rows, or only one setting.

    Args:
        metric: The metric that chooses the best setting; empty if there are no validation rows.
        points: The runs.
        data: Data of the first run.

    Raises:
        RequestError: There are several settings and no validation rows.
    """
    if not metric and len({point.setting.label for point in points}) > 1:
        raise _no_validation(data, "The best setting cannot be chosen.")


def _no_validation(data: Prepared, what: str) -> RequestError:
    return RequestError(
        f"{what} The dataset {data.raw.name} has no validation split.",
        hint="Add one, for example mnist:validation=5000, or use `regplug cv`. Or only compare the settings on the "
        "test rows: --no-export, without --best-of, --tune and --metric. The test rows are never used for choices.",
    )


def warn_of_choosers(made: Sequence[Assembly]) -> Iterator[str]:
    """Yields a warning for each regularizer that makes choices with the rows on which a fold is scored.

    Args:
        made: The assembled runs of a cross-validation.
    """
    for key in dict.fromkeys(key for each in made for key in find_choosers(each)):
        yield (
            f"{key} makes choices with the validation rows, on which a fold is also scored: its scores are too "
            "optimistic, and comparisons with settings without it are biased. Use regplug sweep --data-seeds N, "
            f"which scores on test rows, or leave it out and set --epochs."
        )


def guessing_warning(guessing: Sequence[tuple[str, int, int]], doubts: Sequence[str]) -> str:
    """Returns a warning about settings that are no better than guessing; empty if there are none.

    Args:
        guessing: Setting, number of its runs that are no better than guessing, and number of all its runs.
        doubts: The warnings of these runs, with suggestions.
    """
    if not guessing:
        return ""
    start = "No better than guessing: "
    told = [f"{label} ({count} of {runs} runs)" for label, count, runs in guessing]
    more = f" and {len(told) - MOST_NAMED} more settings" if len(told) > MOST_NAMED else ""
    example = f" For example: {doubts[0].removeprefix(start)}" if doubts else ""
    return f"{start}{', '.join(told[:MOST_NAMED])}{more}.{example}"
