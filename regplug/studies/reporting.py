"""The report of a study, and the files of its parent run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from regplug.config.commands import command_of
from regplug.reports.contents import StudyReport
from regplug.reports.judging import Judged
from regplug.reports.page import render_report
from regplug.statistics import Analysis, Study
from regplug.studies.concluding import curves_document, mean_metrics
from regplug.studies.design.config import StudyConfig
from regplug.studies.design.points import Point
from regplug.studies.report_facts import Trained, facts_of_runs
from regplug.tracking import Store, address_of, compare_url

if TYPE_CHECKING:
    from regplug.studies.keeping import Keeper
    from regplug.studies.results import StudyResult

BEST_TAG = "regplug.study.best"
"""Tag of a study: label of its best setting; empty if none was chosen."""

ANALYSIS_FILE = "analysis.json"
CURVES_FILE = "curves.json"
FIGURE_FILE = "settings.png"
REPORT_FILE = "report.html"

MOST_COMPARED = 8
"""Most runs on MLflow's compare page: the address of each takes half a line."""


def keep_conclusion(keeper: Keeper, result: StudyResult) -> None:
    """Stores analysis, curves, figure, report and the best setting's metrics with the parent run."""
    tracked, conclusion = keeper.tracked, result.conclusion
    # On one line, because writing it with indentation takes ten times as long.
    tracked.log_text(json.dumps(curves_document(result.results), separators=(",", ":")), CURVES_FILE)
    judged = conclusion.judged
    if judged is None:
        return
    tracked.log_dict({**judged.analysis.document(), "test_to_train": conclusion.study.test_to_train}, ANALYSIS_FILE)
    tracked.set_tags({BEST_TAG: conclusion.best or "", "regplug.study.verdict": judged.analysis.verdict})
    best = [each for each in result.results if each.point.setting.label == conclusion.best]
    keeper.log_once({f"best/{name}": value for name, value in mean_metrics(best).items()})
    tracked.log_figure_png(judged.settings_png, FIGURE_FILE)
    tracked.log_text(render_report(report_of(result, judged, keeper)), REPORT_FILE)


def report_of(result: StudyResult, judged: Judged, keeper: Keeper) -> StudyReport:
    """Returns the report of a study.

    Args:
        result: The study.
        judged: Its analysis with figures.
        keeper: Its store, and the rows of its data.
    """
    started = result.started
    run_ids = leading_runs(result.conclusion.compared, judged.analysis)
    return StudyReport(
        title=started.name,
        study=judged.study,
        whole=result.conclusion.study,
        analysis=judged.analysis,
        facts=facts_of_runs([_trained(each.point, keeper.rows_of(each.point)) for each in result.results]),
        command=command_of_study(result.config, started.kind),
        figures=judged.figures,
        notes=(*started.notes, *started.warnings),
        compare_url=compare_address(keeper.store, keeper.tracked.experiment_id, run_ids),
        details={
            "Study": started.study_id,
            "Experiment": started.experiment,
            "Tracked in": started.tracking_uri,
            "Trained together": "; ".join(f"{each['runs']} runs: {each['why']}" for each in started.stacked),
        },
    )


def _trained(point: Point, sizes: Mapping[str, int]) -> Trained:
    config = point.config
    return Trained(
        dataset=config.dataset,
        model=config.model,
        epochs=str(config.epochs),
        seed=config.seed,
        data_seed=config.data_seed,
        fold=point.fold,
        sizes=sizes,
    )


def compare_address(store: Store, experiment_id: str, run_ids: Sequence[str]) -> str:
    """Returns MLflow's compare page of the first `MOST_COMPARED` runs as an address; empty for fewer than two runs."""
    chosen = [run_id for run_id in run_ids if run_id][:MOST_COMPARED]
    return compare_url(address_of(store.location), experiment_id, chosen) if len(chosen) > 1 else ""


def leading_runs(study: Study, analysis: Analysis) -> list[str]:
    """Returns the ids of the best run of each setting, in the order of the table.

    Args:
        study: The settings that were compared, and their runs.
        analysis: Their comparison.
    """
    metric = analysis.selected_by or analysis.metric
    sign = 1.0 if analysis.is_lower_better else -1.0
    found = []
    for label in (summary.label for summary in analysis.ordered):
        scores = [
            (sign * value, run.run_id)
            for run in study.runs
            if run.setting == label and run.run_id
            for value in (run.value(metric),)
            if value is not None
        ]
        found += [min(scores)[1]] if scores else []
    return found


def command_of_study(config: StudyConfig, kind: str) -> str:
    """Returns the command that repeats or continues a study."""
    words = ["regplug", kind, *shlex.split(command_of(config.base))[2:]]
    for field in fields(StudyConfig):
        value = getattr(config, field.name)
        if field.name == "base" or value == field.default:
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else "--maximize")
        else:
            words += [word for each in (value if isinstance(value, tuple) else (value,)) for word in (flag, str(each))]
    return shlex.join(words)
