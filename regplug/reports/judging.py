"""Analysis and figures of a study: everything that takes time after its last run has trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regplug.reports import figures
from regplug.reports.contents import ReportFigure
from regplug.reports.curves import Curves
from regplug.reports.page import draw_figures
from regplug.statistics import Analysis, PairKey, Question, Setting, Study, StudyRun, answer


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Analysis and figures of a study.

    Args:
        question: How the settings are compared.
        analysis: The comparison of the settings.
        study: The settings that were compared: each is one of the study's, or a group of them.
        best: The setting chosen by validation among all of the study's.
        figures: The figures of the report.
        settings_png: The metric against the settings, as a separate image.
    """

    question: Question
    analysis: Analysis
    study: Study
    best: str | None
    figures: tuple[ReportFigure, ...]
    settings_png: bytes


def judge(study: Study, question: Question, curves: Curves) -> Judged:
    """Compares the settings of a study and draws the figures.

    Args:
        study: Settings and runs.
        question: How they are compared.
        curves: Learning curves of the runs, by metric and setting.

    Raises:
        RequestError: No run has the metric, or its direction is unknown.
    """
    found = answer(study, question)
    analysis = found.analysis
    return Judged(
        question=question,
        analysis=analysis,
        study=found.study,
        best=found.best,
        figures=draw_figures(found.study, analysis, regroup_curves(curves, question, analysis), whole=study),
        settings_png=figures.settings_png(found.study, analysis),
    )


def regroup_curves(curves: Curves, question: Question, analysis: Analysis) -> Curves:
    """Returns learning curves by the settings that are compared.

    A group at its best has the curves of the setting that was chosen; a group that is averaged has all of its curves.

    Args:
        curves: Curves by metric and setting of the study.
        question: How the settings are grouped.
        analysis: Which settings were chosen.
    """
    found: dict[str, dict[str, list[Sequence[tuple[float, float]]]]] = {}
    for metric, by_setting in curves.items():
        own = found.setdefault(metric, {})
        for label, of_setting in by_setting.items():
            own.setdefault(question.mean_of.get(label, label), []).extend(of_setting)
        own |= {choice.group: own[choice.setting] for choice in analysis.choices if choice.setting in own}
        own |= {group: own[label] for label, group in question.best_of.items() if group not in own and label in own}
    return found


def get_ready() -> None:
    """Analyses a made-up study to import everything in advance, which takes a second."""
    labels = ("a", "b", "c")
    runs = tuple(
        StudyRun(
            setting=label, key=PairKey(seed=seed), metrics={"test/loss": at + seed**at / 9, "valid/loss": at + 1.0}
        )
        for at, label in enumerate(labels)
        for seed in range(3)
    )
    study = Study(name="made up", settings=tuple(Setting(label=label, varied={}) for label in labels), runs=runs)
    question = Question(metric="test/loss", selected_by="valid/loss", reference="a")
    judge(study, question, {"test/loss": {label: [[(1, 1.0), (2, 0.5)]] for label in labels}})
