"""Writes of a run that are kept on disk: how each kind is put into a folder, and how it is delivered from there."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regplug.tracking import reading
from regplug.tracking.children import Begun, ChildRun, add_columns, write_through_client
from regplug.tracking.columns import ColumnBook, Columns
from regplug.tracking.datasets import UsedDataset, dataset_input, log_inputs
from regplug.tracking.experiments import set_tags
from regplug.tracking.models import log_onnx_model
from regplug.tracking.records import CONTENT
from regplug.tracking.run_end import clear_error

if TYPE_CHECKING:
    import numpy as np

_SAMPLES = "samples.npz"

Entry = dict[str, Any]


def keep_text(place: Path, text: str, path: str) -> Entry:
    """Keeps text that becomes the run's file `path`."""
    (place / CONTENT / Path(path).name).write_text(text, encoding="utf-8")
    return _files(Path(path).parent.as_posix())


def keep_file(place: Path, file: Path, folder: str) -> Entry:
    """Keeps a copy of a file that goes into the run's `folder`."""
    shutil.copy(file, place / CONTENT)
    return _files(folder)


def keep_folder(place: Path, source: Path, folder: str) -> Entry:
    """Keeps a copy of a folder whose content goes into the run's `folder`."""
    shutil.copytree(source, place / CONTENT, dirs_exist_ok=True)
    return _files(folder)


def keep_dataset(facts: Mapping[str, Any]) -> Entry:
    """Keeps a dataset input, from the arguments of `dataset_input`."""
    return {"kind": "dataset", "facts": dict(facts)}


def keep_children(children: Sequence[ChildRun], user: str) -> Entry:
    """Keeps runs of a study."""
    kept = [dataclasses.asdict(child) for child in children]
    plain = [{**each, "shown": None if each["shown"] is None else sorted(each["shown"])} for each in kept]
    return {"kind": "children", "user": user, "children": plain}


def keep_columns(columns: Columns) -> Entry:
    """Keeps columns for earlier runs of the experiment."""
    return {"kind": "columns", "columns": dict(columns)}


def keep_view(view: Mapping[str, str]) -> Entry:
    """Keeps a view of the experiment's runs."""
    return {"kind": "view", "tags": dict(view)}


def keep_model(
    place: Path,
    file: Path,
    sample_input: np.ndarray[Any, Any],
    sample_output: np.ndarray[Any, Any],
    facts: Mapping[str, Any],
) -> Entry:
    """Keeps an ONNX file, with what else `log_onnx_model` takes."""
    import numpy as np

    shutil.copy(file, place / CONTENT)
    np.savez(place / _SAMPLES, input=sample_input, output=sample_output)
    return {"kind": "model", "file": file.name, "facts": dict(facts)}


def deliver(client: Any, run: Any, place: Path, entry: Entry) -> tuple[str, int]:
    """Writes what was kept to the store; what is already there stays as it is.

    Args:
        client: MLflow's client.
        run: MLflow's run.
        place: The folder.
        entry: Its entry.

    Returns:
        What was written, and how many: files, datasets, runs or models.
    """
    return _KINDS[entry["kind"]](client, run, place, entry)


def _files(folder: str) -> Entry:
    return {"kind": "files", "folder": "" if folder == "." else folder}


def _deliver_files(client: Any, run: Any, place: Path, entry: Entry) -> tuple[str, int]:
    client.log_artifacts(run.info.run_id, str(place / CONTENT), entry["folder"] or None)
    return "files", sum(path.is_file() for path in (place / CONTENT).rglob("*"))


def _deliver_dataset(client: Any, run: Any, _: Path, entry: Entry) -> tuple[str, int]:
    log_inputs(client, run.info.run_id, [dataset_input(**entry["facts"])])
    return "datasets", 1


def _deliver_children(client: Any, run: Any, _: Path, entry: Entry) -> tuple[str, int]:
    experiment_id, parent_id = str(run.info.experiment_id), run.info.run_id
    children = [_child(each) for each in entry["children"]]
    wanted = f"tags.`mlflow.parentRunId` = '{parent_id}'"
    there = reading.search(client, {experiment_id: ""}, wanted)
    begun: Begun = {}
    for child in children:
        tags = child.plain_tags(parent_id, entry["user"]).items()
        for each in there:
            if tags <= each.tags.items():
                begun[id(child)] = each.run_id
                clear_error(client, each, child.tags)
    book = ColumnBook(client, experiment_id)
    columns, new = add_columns(book, children)
    written = write_through_client(client, experiment_id, parent_id, entry["user"], children, begun, columns)
    count = sum(len(run_ids) for run_ids in written)
    book.fill(new)
    return "runs", count


def _deliver_columns(client: Any, run: Any, _: Path, entry: Entry) -> tuple[str, int]:
    ColumnBook(client, str(run.info.experiment_id)).fill(entry["columns"])
    return "parameters", len(entry["columns"])


def _deliver_view(client: Any, run: Any, _: Path, entry: Entry) -> tuple[str, int]:
    set_tags(client, run.info.experiment_id, entry["tags"])
    return "tags", len(entry["tags"])


def _child(facts: Mapping[str, Any]) -> ChildRun:
    used, shown = facts["dataset"], facts.get("shown")
    changed = {
        "dataset": None if used is None else UsedDataset(**used),
        "shown": None if shown is None else frozenset(shown),
    }
    return ChildRun(**{**facts, **changed})


def _deliver_model(client: Any, run: Any, place: Path, entry: Entry) -> tuple[str, int]:
    import numpy as np

    with np.load(place / _SAMPLES, allow_pickle=False) as samples:
        given, expected = samples["input"], samples["output"]
    log_onnx_model(
        client,
        place / CONTENT / entry["file"],
        run_id=run.info.run_id,
        experiment_id=str(run.info.experiment_id),
        sample_input=given,
        sample_output=expected,
        **entry["facts"],
    )
    return "models", 1


_KINDS: dict[str, Callable[[Any, Any, Path, Entry], tuple[str, int]]] = {
    "files": _deliver_files,
    "dataset": _deliver_dataset,
    "children": _deliver_children,
    "columns": _deliver_columns,
    "view": _deliver_view,
    "model": _deliver_model,
}
