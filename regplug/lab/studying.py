"""Runs a study of the lab: calls its function, judges its claims, tracks it and writes its report."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from regplug.api import Study
from regplug.errors import ComponentError, RegplugError, RequestError
from regplug.lab.checking import check_findings
from regplug.lab.findings import Findings, headline
from regplug.lab.laboratory import QUICK_SEEDS, Lab
from regplug.lab.results import LabResult
from regplug.lab.writing import deliver, require_writable, write_documents
from regplug.registry import Registered, Registry, default_registry, load_target
from regplug.registry.faults import find_fault, is_fault, told
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
        RequestError: The number of seeds is not positive, the folder cannot be written, or data are missing.
        ComponentError: The study's own code failed, or returned something that is not allowed.
    """
    known = registry or default_registry()
    found = find_study(name, known)
    if seeds is not None and seeds < 1:
        raise RequestError(f"seeds={seeds} is not allowed.", hint="Give 1 or more.")
    began = time.perf_counter()
    store = open_store(tracking_uri)
    folder = (Path(out) if out is not None else store.location.folder / "lab") / typed(found.name)
    require_writable(folder)
    full = cast(Study, found.component).seeds
    count = seeds or (min(QUICK_SEEDS, full) if quick else full)
    mode = "quick" if quick else "full"
    params = {"study": found.name, "seeds": count, "mode": mode}
    tracked = store.start_run(
        experiment=EXPERIMENT, name=f"{typed(found.name)} {mode}", params=params, tags=_tags(found)
    )
    # If the store is lost, the files are sent again when the run ends, so their folder outlives it.
    with tempfile.TemporaryDirectory() as made, tracked, tempfile.TemporaryDirectory() as scratch:
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
        result = _result(found, lab, findings, tracked, store, folder, began)
        _draw(found, result, Path(made))
        _keep(result, Path(made), tracked, store)
        return result


def _tags(found: Registered) -> dict[str, str]:
    study = found.component
    note = f"{study.question}\n\nregplug lab run {typed(found.name)}" if isinstance(study, Study) else ""
    return {LAB_TAG: typed(found.name), "mlflow.note.content": note, "regplug.distribution": found.distribution}


def _carried_out(found: Registered, lab: Lab) -> Findings:
    """Calls the study's function.

    Raises:
        ComponentError: It raised, or returned something that is not allowed.
    """
    function = load_target(found)
    with _blamed(f"The study {lab.study} of {found.origin}"):
        findings = function(lab)
        check_findings(findings)
    return cast(Findings, findings)


@contextmanager
def _blamed(whose: str) -> Iterator[None]:
    """Names the study in whatever the block raises; an exception of its own code becomes a ComponentError."""
    try:
        yield
    except RegplugError as error:
        fault = find_fault(error)
        place = f" in {fault.place}" if fault else ""
        error.message = f"{whose} failed{place}: {error.message}"
        raise
    except BaseException as error:
        if not is_fault(error):
            raise
        raise ComponentError(f"{whose} {told(error)}") from error


def _result(
    found: Registered, lab: Lab, findings: Findings, tracked: TrackedRun, store: Store, folder: Path, began: float
) -> LabResult:
    assert isinstance(found.component, Study)  # noqa: S101 - found by its kind
    return LabResult(
        study=found.component,
        name=lab.study,
        quick=lab.quick,
        seeds=lab.seeds,
        findings=findings,
        study_id=tracked.run_id,
        tracking_uri=store.location.shown,
        folder=folder,
        files={figure.name: [f"{figure.name}.{kind}" for kind in _FORMATS] for figure in findings.figures},
        sweeps=lab.sweeps,
        runs=lab.runs,
        seconds=time.perf_counter() - began,
    )


def _draw(found: Registered, result: LabResult, made: Path) -> None:
    for figure in result.findings.figures:
        with _blamed(f"The figure {figure.name} of the study {result.name} of {found.origin}"):
            save_figures([figure], made, _FORMATS)


def _keep(result: LabResult, made: Path, tracked: TrackedRun, store: Store) -> None:
    """Writes the report beside the figures, and copies both into the folder of the results and into MLflow."""
    write_documents(made, result.document())
    deliver(made, result.folder)
    values = {row["name"]: headline(row) for row in result.findings.summary() if row["mean"] is not None}
    tracked.log_metrics(values, 0)
    tracked.set_tags({"regplug.lab.verdict": result.verdict})
    tracked.log_folder(made)
    for sweep in result.sweeps:
        store.attach(sweep.study_id).set_tags({LAB_TAG: tracked.run_id})
