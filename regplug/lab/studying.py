"""Runs a study of the lab: calls its function, judges its claims, tracks it and writes its report."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from regplug.api import Study
from regplug.errors import ComponentError, RegplugError, RequestError
from regplug.lab.findings import Findings, headline
from regplug.lab.laboratory import QUICK_SEEDS, Lab
from regplug.lab.page import FINDINGS_FILE, REPORT_FILE, report
from regplug.lab.results import LabResult
from regplug.registry import Registered, Registry, default_registry, load_target
from regplug.registry.faults import is_fault, told
from regplug.registry.studies import find_study, typed
from regplug.reports.files import save_figures
from regplug.tracking import Store, TrackedRun, open_store

if TYPE_CHECKING:
    from regplug.studies.results import StudyObserver

EXPERIMENT = "lab"
LAB_TAG = "regplug.lab"
"""Tag of a study's run: its name. Tag of its sweeps: the id of that run."""

_FORMATS = ("png", "svg")


def run(
    name: str,
    *,
    quick: bool = False,
    seeds: int | None = None,
    out: Path | str | None = None,
    tracking_uri: str | None = None,
    registry: Registry | None = None,
    observers: Sequence[StudyObserver] = (),
) -> LabResult:
    """Runs a study of the lab: `regplug lab run NAME` from Python.

    Args:
        name: Its name, such as `weight-decay`.
        quick: Whether it ends within seconds, with fewer seeds and shorter training; much is then undecided.
        seeds: Number of seeds; by default as many as the study says, usually ten, and in quick mode at most three.
        out: Folder below which its report and figures are written, in a folder with its name; by default `lab` beside
            the store.
        tracking_uri: As for `regplug.run`.
        registry: As for `regplug.run`.
        observers: Receive the events of its sweeps.

    Raises:
        UnknownComponentError: There is no such study.
        RequestError: The number of seeds is not positive, or its data are missing.
        ComponentError: The study's own code failed.
    """
    known = registry or default_registry()
    found = find_study(name, known)
    if seeds is not None and seeds < 1:
        raise RequestError(f"seeds={seeds} is not allowed.", hint="Give 1 or more.")
    began = time.perf_counter()
    store = open_store(tracking_uri)
    full = cast(Study, found.component).seeds
    count = seeds or (min(QUICK_SEEDS, full) if quick else full)
    mode = "quick" if quick else "full"
    params = {"study": found.name, "seeds": count, "mode": mode}
    tracked = store.start_run(
        experiment=EXPERIMENT, name=f"{typed(found.name)} {mode}", params=params, tags=_tags(found)
    )
    with tracked, tempfile.TemporaryDirectory() as scratch:
        lab = Lab(
            study=typed(found.name),
            quick=quick,
            seeds=count,
            tracking_uri=tracking_uri,
            registry=registry,
            observers=observers,
            folder=Path(scratch),
            mark=tracked.run_id[:8],
        )
        findings = _carried_out(found, lab)
        folder = Path(out) if out is not None else store.location.folder / "lab"
        return _kept(found, lab, findings, tracked, store, folder / lab.study, began)


def _tags(found: Registered) -> dict[str, str]:
    study = found.component
    note = f"{study.question}\n\nregplug lab run {typed(found.name)}" if isinstance(study, Study) else ""
    return {LAB_TAG: typed(found.name), "mlflow.note.content": note, "regplug.distribution": found.distribution}


def _carried_out(found: Registered, lab: Lab) -> Findings:
    """Calls the study's function.

    Raises:
        ComponentError: It raised, or returned something else than findings.
    """
    try:
        findings = load_target(found)(lab)
    except RegplugError:
        raise
    except BaseException as error:
        if not is_fault(error):
            raise
        raise ComponentError(f"The study {lab.study} of {found.origin} {told(error)}") from error
    if not isinstance(findings, Findings):
        raise ComponentError(
            f"The study {lab.study} of {found.origin} returned a {type(findings).__name__}.",
            hint="A study returns regplug.lab.Findings.",
        )
    _require_unique(lab.study, "claims", [claim.name for claim in findings.claims])
    _require_unique(lab.study, "figures", [figure.name for figure in findings.figures])
    return findings


def _require_unique(study: str, what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ComponentError(f"The study {study} has several {what} named {twice[0]}.", hint="Give each its own name.")


def _kept(
    found: Registered, lab: Lab, findings: Findings, tracked: TrackedRun, store: Store, folder: Path, began: float
) -> LabResult:
    """Writes report and figures beside the store and into MLflow."""
    files = save_figures(findings.figures, folder, _FORMATS)
    by_name = {
        figure.name: [file.name for file in files[at * len(_FORMATS) : (at + 1) * len(_FORMATS)]]
        for at, figure in enumerate(findings.figures)
    }
    assert isinstance(found.component, Study)  # noqa: S101 - found by its kind
    result = LabResult(
        study=found.component,
        name=lab.study,
        quick=lab.quick,
        seeds=lab.seeds,
        findings=findings,
        study_id=tracked.run_id,
        tracking_uri=store.location.shown,
        folder=folder,
        files=by_name,
        sweeps=lab.sweeps,
        runs=lab.runs,
        seconds=time.perf_counter() - began,
    )
    document = result.document()
    _write(folder, document)
    tracked.log_metrics({row["name"]: headline(row) for row in findings.summary() if row["mean"] is not None}, 0)
    tracked.set_tags({"regplug.lab.verdict": findings.verdict})
    tracked.log_folder(folder)
    for sweep in lab.sweeps:
        store.attach(sweep.study_id).set_tags({LAB_TAG: tracked.run_id})
    return result


def _write(folder: Path, document: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    told = {name: value for name, value in document.items() if name not in ("runs", "summary")}
    try:
        (folder / FINDINGS_FILE).write_text(json.dumps(told, indent=2, default=str) + "\n", encoding="utf-8")
        (folder / REPORT_FILE).write_text(report(document), encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"The report cannot be written into {folder}: {error}", hint="Choose another folder."
        ) from error
