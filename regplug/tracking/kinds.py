"""What a tracked run is: a single run, a study, or a run of a study. Does not import mlflow."""

from __future__ import annotations

from typing import Literal

from regplug.tracking.liveness import PROCESS_TAG
from regplug.tracking.reading import RunInfo

STUDY_TAG = "regplug.study"
FINAL_TAG = "regplug.study.final_of"
"""Tag of a run: id of the study whose best setting it is, trained again."""

CHECKPOINT_TAG = "regplug.checkpoint"
"""Names the file with the checkpoint of a run that is not finished."""

CONFIG_FILE, STUDY_FILE = "config.toml", "study.json"
"""The files with the request of a run and of a study."""

BUNDLE_TAGS = ("regplug.bundle", "regplug.bundle_stochastic")
"""Name the folders of a run's exported bundles."""

Kind = Literal["run", "study", "child", "final", "other"]
"""A single run, a study, a run of a study, a study's best setting trained again, or a run that is not regplug's."""


def kind_of(info: RunInfo) -> Kind:
    """Returns what a tracked run is."""
    if info.parent_id is not None:
        return "child"
    if STUDY_TAG in info.tags:
        return "study"
    if FINAL_TAG in info.tags:
        return "final"
    return "run" if PROCESS_TAG in info.tags else "other"


def study_of(info: RunInfo) -> str | None:
    """Returns the id of the study that a run belongs to, or `None`."""
    return info.parent_id or info.tags.get(FINAL_TAG)


def is_interrupted(info: RunInfo) -> bool:
    """Returns whether a run or study ended early and is not part of a study, which would be resumed instead of it."""
    return kind_of(info) in ("run", "study") and (info.status in ("KILLED", "FAILED") or info.is_stale)


def is_alive(info: RunInfo) -> bool:
    """Returns whether a process may still be writing a run."""
    return info.status == "RUNNING" and not info.is_stale
