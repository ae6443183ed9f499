"""Analysis and figures of a study: everything that takes time after its last run has trained."""

from __future__ import annotations

from dataclasses import dataclass

from regplug.reports import figures
from regplug.reports.curves import Curves
from regplug.reports.page import ReportFigure, draw_figures
from regplug.statistics import Analysis, PairKey, Question, Setting, Study, StudyRun, answer


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Analysis and figures of a study.

    Args:
        analysis: The comparison of the settings.
        figures: The figures of the report.
        settings_png: The metric against the settings, as a separate image.
    """

    analysis: Analysis
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
    analysis = answer(study, question)
    return Judged(
        analysis=analysis,
        figures=draw_figures(study, analysis, curves),
        settings_png=figures.settings_png(study, analysis),
    )


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
