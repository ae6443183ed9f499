"""Resumes an interrupted run or study from what the store knows about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from regplug.errors import RequestError
from regplug.registry import Registry
from regplug.runs.background_process import Executor
from regplug.runs.stored import asking_for_objects
from regplug.studies.design.config import StudyConfig
from regplug.studies.earlier import finals_of
from regplug.studies.engine import Study
from regplug.studies.results import StudyObserver, StudyResult
from regplug.tracking import RunInfo, Store
from regplug.tracking.kinds import BUNDLE_TAGS, STUDY_FILE, STUDY_TAG


def resume_study(
    store: Store,
    info: RunInfo,
    registry: Registry,
    *,
    observers: Sequence[StudyObserver] = (),
    tracking_uri: str | None = None,
    computing: Executor | None = None,
    is_soft: bool = False,
) -> StudyResult:
    """Resumes a study: the stack that was interrupted continues from its checkpoint, and finished runs are kept.

    Args:
        store: Its store.
        info: The study.
        registry: The available components.
        observers: Receive the events of the study.
        tracking_uri: As for `Study.run`.
        computing: As for `Study.run`.
        is_soft: As for `Study.run`.

    Raises:
        RequestError: The study cannot be resumed, or is still being written; nothing was changed.
        FailedError: The best setting could not be trained again or exported.
    """
    if store.catch_up(info.run_id):
        info = store.find_run(info.run_id)
    asked = _Stored.read(store, info)
    arguments = "study, model=..., dataset=..., components=[...]"
    with asking_for_objects(f"The study {info.name}", "regplug.resume", arguments):
        study = Study(asked.config, kind=asked.kind, registry=registry)
    return study.run(
        observers,
        tracking_uri,
        refit=asked.refit,
        computing=computing,
        study_id=info.run_id,
        owner=next((final.run_id for final in finals_of(store, info) if BUNDLE_TAGS[0] in final.tags), ""),
        is_soft=is_soft,
    )


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """The request of a study, as it is stored.

    Args:
        config: The study.
        kind: `sweep` or `cv`.
        refit: Whether the best setting is trained again.
    """

    config: StudyConfig
    kind: str
    refit: bool

    @classmethod
    def read(cls, store: Store, info: RunInfo) -> _Stored:
        """Reads the request of a study.

        Raises:
            RequestError: The study is finished or still running, or has no request.
        """
        named = f"The study {info.name} ({info.run_id[:8]})"
        if info.status == "FINISHED":
            raise RequestError(f"{named} is finished.", hint="The same command starts a new study.")
        if info.status == "RUNNING" and not info.is_stale:
            raise RequestError(f"{named} is still running.", hint="Wait until it ends, or end its process.")
        if STUDY_FILE not in store.artifact_names(info.run_id):
            raise RequestError(
                f"{named} has no {STUDY_FILE}: it ended before its training began.", hint="Repeat its command."
            )
        document: dict[str, Any] = json.loads(store.read_artifact(info.run_id, STUDY_FILE).read_text(encoding="utf-8"))
        config, kind = StudyConfig.from_dict(document), info.tags[STUDY_TAG]
        return cls(config=config, kind=kind, refit=document.get("refit", config.delivers(kind)))
