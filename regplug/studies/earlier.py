"""Finds an earlier attempt at a study: the one that a repeated command continues, or the one that is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from regplug.errors import RequestError
from regplug.tracking import RunInfo, Store
from regplug.tracking.kinds import FINAL_TAG, STUDY_FILE, STUDY_TAG

FINGERPRINT_TAG = "regplug.study.fingerprint"
_UNTOLD = ("settings", "refit", "chosen")
"""Parts of the document that are not named as a difference."""


def unfinished_study(
    store: Store, *, kind: str, name: str, experiment: str, fingerprint: str, document: Mapping[str, Any]
) -> RunInfo | None:
    """Returns the newest unfinished study with a name and a fingerprint.

    Args:
        store: The store.
        kind: `sweep` or `cv`.
        name: The study's name.
        experiment: Its experiment.
        fingerprint: Its fingerprint.
        document: The study as it would be stored in `STUDY_FILE`.

    Raises:
        RequestError: There is one of this name, which was chosen by the user, with another configuration.
    """
    kept = store.experiment_name(experiment)
    if kept not in store.experiments().values():
        return None
    found = [
        run
        for run in store.runs(kept, limit=None, tags={STUDY_TAG: kind})
        if run.name == name and run.status != "FINISHED"
    ]
    same = [run for run in found if run.tags.get(FINGERPRINT_TAG) == fingerprint]
    if found and not same and document["base"]["name"]:
        raise RequestError(
            f"The study {name} is not finished and has another configuration: {difference(store, found[0], document)}.",
            hint="Use the same command to continue it, or another --name for a new study.",
        )
    return same[0] if same else None


def named_study(store: Store, study_id: str, fingerprint: str, document: Mapping[str, Any]) -> RunInfo:
    """Returns the study with an id.

    Raises:
        RequestError: Its data, or the code of its components, have changed.
    """
    info = store.find_run(study_id)
    if info.tags.get(FINGERPRINT_TAG) != fingerprint:
        what = difference(store, info, document) or "a component has other parameters"
        raise RequestError(
            f"The study {info.name} ({study_id[:8]}) cannot be continued, because something has changed: {what}.",
            hint="`content.data` is the digest of the data, and `content.start` that of the initial weights. Restore "
            "the data and the code, or start a new study.",
        )
    return info


def difference(store: Store, run: RunInfo, document: Mapping[str, Any]) -> str:
    """Returns in which fields a study differs from its stored document."""
    text = store.read_artifact(run.run_id, STUDY_FILE).read_text(encoding="utf-8")
    before, now = _flat(json.loads(text)), _flat(document)
    names = [name for name in {**before, **now} if name not in _UNTOLD and before.get(name) != now.get(name)]
    return "; ".join(f"{name} was {before.get(name)!r} and is {now.get(name)!r}" for name in names)


def finals_of(store: Store, study: RunInfo) -> list[RunInfo]:
    """Returns the runs with which the best setting of a study was trained again, finished or not."""
    return store.runs(study.experiment, limit=None, tags={FINAL_TAG: study.run_id})


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    tables = {"base": "", "content": "content."}
    inner = {f"{tables[table]}{name}": value for table in tables for name, value in document.get(table, {}).items()}
    return {**{name: value for name, value in document.items() if name not in tables}, **inner}
