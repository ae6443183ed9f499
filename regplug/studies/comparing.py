"""Compares what is tracked: the settings of studies, and plain runs grouped by what differs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regplug import statistics
from regplug.errors import RequestError, did_you_mean
from regplug.reports.page import StudyReport, draw_figures, render_report
from regplug.studies.axes import varies_loss
from regplug.studies.keeping import STUDY_KINDS, STUDY_TAG
from regplug.studies.measuring import FINISHED
from regplug.studies.reporting import ANALYSIS_FILE, REPORT_FILE, compare_address, curve_metrics, read_curves
from regplug.studies.tracked_settings import gather
from regplug.tracking import RunInfo, Store, open_store


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a comparison came to.

    Args:
        study: Settings and runs.
        analysis: What they say.
        runs: The runs that were compared.
        notes: How they were gathered.
        tracking_uri: Where they are tracked.
        compare_url: MLflow's compare page for them, where `regplug ui` serves it.
        report: The page, as HTML.
    """

    study: statistics.Study
    analysis: statistics.Analysis
    runs: tuple[RunInfo, ...]
    notes: tuple[str, ...]
    tracking_uri: str
    compare_url: str
    report: str

    def document(self) -> dict[str, Any]:
        """The comparison as JSON knows it."""
        return {
            "name": self.study.name,
            "tracking_uri": self.tracking_uri,
            "compare_url": self.compare_url,
            "notes": list(self.notes),
            **self.analysis.document(),
            "runs": [
                {"run_id": run.run_id, "setting": run.setting, "status": run.status, **run.key._asdict()}
                for run in self.study.runs
            ],
        }

    def write(self, path: Path) -> None:
        """Writes the report.

        Raises:
            RequestError: The file cannot be written.
        """
        try:
            path.write_text(self.report, encoding="utf-8")
        except OSError as error:
            raise RequestError(f"The report {path} cannot be written: {error}", hint="Choose another --out.") from error


def compare_tracked(
    names: Sequence[str],
    *,
    by: Sequence[str] = (),
    metric: str = "",
    baseline: str | None = None,
    tracking_uri: str | None = None,
) -> Compared:
    """Compares the runs of experiments or studies.

    The report is kept with the study's run, where one study is compared.

    Args:
        names: Experiments, or studies by id, the beginning of one, or name.
        by: Parameters that make the settings; `reg` means the regularizers with those of their parameters that vary. By
            default a study's own settings, else everything that differs but seeds, folds and the dataset.
        metric: What to compare; by default what a study compared, else test accuracy or loss.
        baseline: A setting named beforehand that the others are compared with.
        tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` here.

    Raises:
        RequestError: Nothing of these names is tracked, or the runs cannot be compared.
    """
    store = open_store(tracking_uri, is_read=True)
    sources = [_find(store, name) for name in names]
    found = gather(store, [(source.study, source.runs) for source in sources], by)
    said = sources[0].said if len(sources) == 1 else {}
    study = statistics.Study(
        name=", ".join(dict.fromkeys(source.name for source in sources)),
        settings=found.settings,
        runs=found.study_runs,
        test_to_train=said.get("test_to_train"),
    )
    metric = metric or said.get("metric") or _default_metric(study)
    analysis = statistics.analyse(study, metric, selected_by=_selection(study, metric, said), baseline=baseline)
    curves = read_curves(store, study, found.runs, curve_metrics(analysis.metric, analysis.selected_by))
    url = compare_address(store, found.runs[0].experiment_id, [run.run_id for run in found.runs])
    notes = (*(note for source in sources for note in source.notes), *found.notes)
    page = render_report(
        StudyReport(
            title=f"Comparison of {study.name}",
            study=study,
            analysis=analysis,
            figures=draw_figures(study, analysis, curves),
            notes=notes,
            compare_url=url,
            details={"Tracked in": store.location.uri},
        )
    )
    if len(sources) == 1 and sources[0].study is not None:
        store.attach(sources[0].study.run_id).log_text(page, REPORT_FILE)
    return Compared(
        study=study,
        analysis=analysis,
        runs=found.runs,
        notes=notes,
        tracking_uri=store.location.uri,
        compare_url=url,
        report=page,
    )


@dataclass(frozen=True, kw_only=True)
class _Source:
    """An experiment, or a study.

    Args:
        name: Its name.
        study: The study's parent run, or `None`.
        runs: The newest first.
        notes: What was left out.
        said: What a study's own analysis says of how it was done.
    """

    name: str
    study: RunInfo | None
    runs: tuple[RunInfo, ...]
    notes: tuple[str, ...] = ()
    said: Mapping[str, Any]


def _find(store: Store, name: str) -> _Source:
    if name in store.experiments().values():
        return _experiment(store, name)
    studies = [run for kind in STUDY_KINDS for run in store.runs(limit=None, tags={STUDY_TAG: kind})]
    known = {run.name for run in studies} | set(store.experiments().values())
    try:
        study = store.find_run(name)
    except RequestError as error:
        if "several" in error.message:
            raise
        raise RequestError(f"There is no experiment and no study {name}.", hint=did_you_mean(name, known)) from None
    if STUDY_TAG not in study.tags:
        raise RequestError(
            f"{name} is one run: there is nothing to compare it with.",
            hint=f"Name its experiment, {study.experiment}, or a study.",
        )
    runs = _ended(store.runs(study.experiment, limit=None, parent=study.run_id))
    if not runs:
        raise RequestError(f"No run of the study {study.name} has ended.", hint="Wait, or go on with it.")
    return _Source(name=study.name, study=study, runs=runs, said=_said(store, study))


def _experiment(store: Store, name: str) -> _Source:
    runs = _ended(store.runs(name, limit=None))
    plain = tuple(run for run in runs if run.parent_id is None and STUDY_TAG not in run.tags)
    children = tuple(run for run in runs if run.parent_id is not None)
    if len(plain) < 2 <= len(children):
        return _Source(name=name, study=None, runs=children, said={})
    if not plain:
        raise RequestError(f"The experiment {name} has no run that ended.", hint="Begin with: regplug run")
    notes = (f"{len(children)} runs of studies in {name} are left out: name a study to compare them.",)
    return _Source(name=name, study=None, runs=plain, notes=notes if children else (), said={})


def _ended(runs: Sequence[RunInfo]) -> tuple[RunInfo, ...]:
    """Runs that can be compared: they have ended, and regplug made them."""
    return tuple(
        run for run in runs if run.status in ("FINISHED", "FAILED") and {"seed", "data_seed"} <= set(run.params)
    )


def _said(store: Store, study: RunInfo) -> dict[str, Any]:
    if ANALYSIS_FILE not in store.artifact_names(study.run_id):
        return {}
    read: dict[str, Any] = json.loads(store.read_artifact(study.run_id, ANALYSIS_FILE).read_text(encoding="utf-8"))
    return read


def _default_metric(study: statistics.Study) -> str:
    finished = [run for run in study.runs if run.status == FINISHED]
    is_folded = any(run.key.fold is not None for run in finished)
    split = "valid" if is_folded else "test"
    has_accuracy = bool(finished) and all(f"{split}/accuracy" in run.metrics for run in finished)
    if has_accuracy:
        return f"{split}/accuracy"
    return f"{split}/{'rmse' if varies_loss(path for one in study.settings for path in one.varied) else 'loss'}"


def _selection(study: statistics.Study, metric: str, said: Mapping[str, Any]) -> str | None:
    """The validation metric by which the best is named: the study's own, else the one like what is compared."""
    wanted = (said.get("selected_by"), f"valid/{metric.partition('/')[2]}", "valid/accuracy", "valid/loss")
    return next((name for name in wanted if name and any(run.value(name) is not None for run in study.runs)), None)


def report_name(names: Sequence[str]) -> str:
    """Returns the file that a report is written to where none is named.

    >>> report_name(["digits/mlp"])
    'report-digits-mlp.html'
    """
    return f"report-{'-'.join(re.sub(r'[^A-Za-z0-9._]+', '-', name).strip('-') for name in names)[:80]}.html"
