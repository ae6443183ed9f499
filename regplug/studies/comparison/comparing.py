"""Compares tracked runs: the settings of studies, and single runs grouped by the parameters that differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from regplug import statistics
from regplug.errors import RequestError, did_you_mean
from regplug.reports.judging import regroup_curves
from regplug.runs.doubts import WARNINGS_TAG
from regplug.statistics import Question
from regplug.studies.comparison.comparable import (
    Group,
    are_judged_alike,
    group_by_data,
    group_by_loss,
    is_loss_metric,
    overlap_of,
    why_apart,
)
from regplug.studies.comparison.compared import Compared, Part, verdict_of_parts
from regplug.studies.comparison.compared_page import comparison_page
from regplug.studies.comparison.tracked_rows import with_rows
from regplug.studies.comparison.tracked_settings import Gathered, Source, TrackedSettings
from regplug.studies.curves import curve_metrics, read_curves
from regplug.studies.keeping import STUDY_KINDS
from regplug.studies.measuring import FINISHED
from regplug.studies.reporting import ANALYSIS_FILE, REPORT_FILE, compare_address, leading_runs
from regplug.tracking import RunInfo, Store, open_store
from regplug.tracking.kinds import FINAL_TAG, STUDY_TAG


def compare_tracked(
    names: Sequence[str],
    *,
    by: Sequence[str] = (),
    metric: str = "",
    baseline: str | None = None,
    all_pairs: bool = False,
    minimize: bool | None = None,
    tracking_uri: str | None = None,
) -> Compared:
    """Compares the runs of experiments or studies.

    If one study is compared, the report is also stored with the study's run.

    Args:
        names: Experiments, or studies by id, the beginning of an id, or name.
        by: Parameters that define the settings; `reg` means the regularizers and those of their parameters that vary.
            By default a study's own settings, else all that differ except seeds, folds and the dataset.
        metric: The metric to compare; by default the metric of the study, else test accuracy or loss.
        baseline: The setting with which the others are compared; by default the reference of the study, else the
            setting without regularizers.
        all_pairs: Whether every setting is compared with every other.
        minimize: Whether lower values of the metric are better; by default its name decides.
        tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the current folder.

    Raises:
        RequestError: Nothing with these names is tracked, or the runs cannot be compared.
    """
    store = open_store(tracking_uri, is_read=True)
    _check_question(metric, baseline, all_pairs=all_pairs, minimize=minimize)
    sources = [_find(store, name) for name in names]
    settings = TrackedSettings(store, sources, by)
    runs = [run for source in sources for run in source.runs]
    groups = _groups(group_by_data(runs, settings.dataset, settings.varied), sources, metric)
    parts, missing = [], []
    question = Question(
        metric=metric,
        reference=baseline or settings.reference,
        all_pairs=all_pairs,
        is_lower_better=minimize,
        best_of=settings.best_of,
    )
    for group, gathered in _with_settings(groups, settings, baseline):
        part = _part(store, group, gathered, sources, question)
        parts += [part] if isinstance(part, Part) else []
        missing += [part] if isinstance(part, RequestError) else []
    if not parts:
        raise missing[0]
    return _compared(store, sources, tuple(parts), [f"{error.message} It is left out." for error in missing])


def _check_question(metric: str, baseline: str | None, *, all_pairs: bool, minimize: bool | None) -> None:
    if all_pairs and baseline is not None:
        raise RequestError("With all pairs no setting is the baseline.", hint="Choose --baseline or --all-pairs.")
    statistics.check_direction(metric, minimize)


def _groups(by_data: Sequence[Group], sources: Sequence[Source], metric: str) -> list[Group]:
    """Returns the groups of equal data, split by loss if the metric is the loss."""
    found: list[Group] = []
    for group in by_data:
        is_loss = is_loss_metric(metric or _said_metric(sources) or _default_metric(group))
        found += group_by_loss(group) if is_loss else [group]
    return found


def _with_settings(
    groups: Sequence[Group], settings: TrackedSettings, baseline: str | None
) -> Iterator[tuple[Group, Gathered]]:
    gathered = settings.gather(groups)
    labels = {setting.label for each in gathered for setting in each.settings}
    means = {label: mean for each in gathered for label, mean in each.mean_of.items()}
    labels = {means.get(label, settings.best_of.get(label, label)) for label in labels}
    if baseline is not None and baseline not in labels:
        raise RequestError(
            f"The baseline {baseline!r} is not a setting of these runs.", hint=did_you_mean(baseline, labels)
        )
    return zip(groups, gathered, strict=True)


def _part(
    store: Store, group: Group, found: Gathered, sources: Sequence[Source], question: Question
) -> Part | RequestError:
    """Returns the analysis of a group of runs, or an error if none of them has the metric."""
    metric = question.metric or _said_metric(sources) or _default_metric(group)
    study = statistics.Study(
        name=", ".join(dict.fromkeys(source.name for source in sources)),
        settings=found.settings,
        runs=with_rows(store, found.study_runs, found.runs, metric),
        test_to_train=_overlap(group, sources, metric),
    )
    asked = _asked_of(study, question, metric, found, sources)
    try:
        study.values(metric)
    except RequestError as error:
        return error
    answered = statistics.answer(study, asked)
    analysis = answered.analysis
    curves = read_curves(store, study, found.runs, curve_metrics(analysis.metric, analysis.selected_by))
    return Part(
        name=group.name,
        group=group,
        study=study,
        question=asked,
        compared=answered.study,
        analysis=analysis,
        runs=found.runs,
        curves=regroup_curves(curves, asked, analysis),
        notes=(*found.notes, *_doubts(group)),
    )


def _asked_of(
    study: statistics.Study, question: Question, metric: str, found: Gathered, sources: Sequence[Source]
) -> Question:
    """Returns the question for the settings of one group; without the reference if the group does not have it."""
    best_of = {label: question.best_of.get(label, label) for label in study.labels} if question.best_of else {}
    labels = {*best_of.values(), *found.mean_of.values()} or set(study.labels)
    return replace(
        question,
        metric=metric,
        selected_by=_selection(study, metric, sources),
        mean_of=found.mean_of,
        best_of=best_of,
        reference=question.reference if question.reference in labels else None,
    )


def _overlap(group: Group, sources: Sequence[Source], metric: str) -> float | None:
    """Returns the overlap stored with the runs, or for studies of an earlier version that of their analysis."""
    if group.facts:
        return overlap_of(group, metric)
    return max((source.said.get("test_to_train") or 0.0 for source in sources), default=0.0) or None


def _doubts(group: Group) -> Iterator[str]:
    if not are_judged_alike(group):
        yield "The settings are evaluated on different rows: differences between them may come from the data."
    if not group.facts and len({run.params["data_seed"] for run in group.runs}) > 1:
        yield (
            "Data seeds count as independent draws, because the runs do not store which rows they used: if the seeds "
            "split the same rows, the intervals are too narrow."
        )


def _compared(store: Store, sources: Sequence[Source], parts: tuple[Part, ...], left_out: Sequence[str]) -> Compared:
    runs = [run for part in parts for run in part.runs]
    said = [note for source in sources for note in source.notes]
    name, ranks = parts[0].study.name, _ranks(parts)
    found = Compared(
        name=name,
        parts=parts,
        ranks=ranks,
        verdict=parts[0].analysis.verdict if len(parts) == 1 else verdict_of_parts(parts, ranks),
        notes=(*said, *left_out, *why_apart([part.group for part in parts], parts[0].analysis.metric)),
        tracking_uri=store.location.shown,
        compare_url=compare_address(
            store, runs[0].experiment_id, [x for part in parts for x in leading_runs(part.compared, part.analysis)]
        ),
        report="",
    )
    page = comparison_page(found)
    if len(sources) == 1 and sources[0].study is not None:
        store.attach(sources[0].study.run_id).log_text(page, REPORT_FILE)
    return replace(found, report=page)


def _ranks(parts: Sequence[Part]) -> statistics.Ranks | None:
    """Returns mean ranks over the parts, if each is a different dataset."""
    if any(one.group.shares_rows(other.group) for at, one in enumerate(parts) for other in parts[:at]):
        return None
    means = [{s.label: s.mean for s in part.analysis.summaries if s.mean is not None} for part in parts]
    return statistics.rank_over_datasets(means, [part.analysis.is_lower_better for part in parts])


def _find(store: Store, name: str) -> Source:
    if name in store.experiments().values():
        return _experiment(store, name)
    studies = [run for kind in STUDY_KINDS for run in store.runs(limit=None, tags={STUDY_TAG: kind})]
    known = {run.name for run in studies} | set(store.experiments().values())
    try:
        study = store.find_run(name)
    except RequestError as error:
        if "several" in error.message:
            raise
        raise RequestError(f"There is no experiment or study {name}.", hint=did_you_mean(name, known)) from None
    if STUDY_TAG not in study.tags:
        raise RequestError(
            f"{name} is a single run: there is nothing to compare it with.",
            hint=f"Name its experiment, {study.experiment}, or a study.",
        )
    runs = _ended(store.runs(study.experiment, limit=None, parent=study.run_id))
    if not runs:
        raise RequestError(f"No run of the study {study.name} has ended.", hint="Wait for it, or continue the study.")
    return _study(store, study.name, study, runs)


def _study(store: Store, name: str, study: RunInfo, runs: tuple[RunInfo, ...]) -> Source:
    notes = (study.tags[WARNINGS_TAG],) if WARNINGS_TAG in study.tags else ()
    return Source(name=name, study=study, runs=runs, notes=notes, said=_said(store, study))


def _experiment(store: Store, name: str) -> Source:
    tracked = store.runs(name, limit=None)
    runs = _ended(tracked)
    own = {STUDY_TAG, FINAL_TAG}
    plain = tuple(run for run in runs if run.parent_id is None and not own & set(run.tags))
    children = tuple(run for run in runs if run.parent_id is not None)
    if len(plain) < 2 <= len(children):
        parents = {run.parent_id for run in children}
        study = next((run for run in tracked if parents == {run.run_id} and STUDY_TAG in run.tags), None)
        if study is not None:
            return _study(store, name, study, children)
        return Source(name=name, study=None, runs=children, said={})
    if not plain:
        raise RequestError(f"The experiment {name} has no run that ended.", hint="Start with: regplug run")
    notes = (f"{len(children)} runs of studies in {name} are left out: name a study to compare them.",)
    return Source(name=name, study=None, runs=plain, notes=notes if children else (), said={})


def _ended(runs: Sequence[RunInfo]) -> tuple[RunInfo, ...]:
    """Returns the runs that can be compared: those of regplug that have ended."""
    return tuple(
        run for run in runs if run.status in ("FINISHED", "FAILED") and {"seed", "data_seed"} <= set(run.params)
    )


def _said(store: Store, study: RunInfo) -> dict[str, Any]:
    if ANALYSIS_FILE not in store.artifact_names(study.run_id):
        return {}
    read: dict[str, Any] = json.loads(store.read_artifact(study.run_id, ANALYSIS_FILE).read_text(encoding="utf-8"))
    return read


def _said_metric(sources: Sequence[Source]) -> str:
    """Returns the metric of the studies, if they agree."""
    said = {source.said.get("metric", "") for source in sources}
    return said.pop() if len(said) == 1 else ""


def _default_metric(group: Group) -> str:
    finished = [run for run in group.runs if run.status == FINISHED]
    split = "valid" if any("fold" in run.params for run in finished) else "test"
    if finished and all(f"{split}/accuracy" in run.metrics for run in finished):
        return f"{split}/accuracy"
    has_losses = len({run.params.get("loss") for run in finished}) > 1
    return (
        f"{split}/rmse" if has_losses and any(f"{split}/rmse" in run.metrics for run in finished) else f"{split}/loss"
    )


def _selection(study: statistics.Study, metric: str, sources: Sequence[Source]) -> str | None:
    """Returns the validation metric that selects the best setting: the study's own, else the one like `metric`."""
    said = sources[0].said.get("selected_by") if len(sources) == 1 else None
    wanted = (said, f"valid/{metric.partition('/')[2]}", "valid/accuracy", "valid/loss")
    return next((name for name in wanted if name and any(run.value(name) is not None for run in study.runs)), None)


def report_name(names: Sequence[str]) -> str:
    """Returns the default file name of a report.

    >>> report_name(["digits/mlp"])
    'report-digits-mlp.html'
    """
    return f"report-{'-'.join(re.sub(r'[^A-Za-z0-9._]+', '-', name).strip('-') for name in names)[:80]}.html"
