"""Exports what is named: a tracked run, a run of a study, a study, or several of them as one model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from regplug.bundles.publish import OVERWRITE, require_free
from regplug.errors import RequestError
from regplug.exporting import Exported, export_ensemble, export_tracked
from regplug.registry import Registry, default_registry
from regplug.runs.data_facts import ROWS_TAG, rows_digest
from regplug.runs.loading import load_data
from regplug.runs.request import check_request
from regplug.studies.delivery.delivering import Best, Finals
from regplug.studies.delivery.restoring import CHANGED_DATA_HINT, has_weights, restore
from regplug.studies.design.child_configs import tracked_config
from regplug.studies.design.config import StudyConfig
from regplug.studies.keeping import WINNER_TAG
from regplug.studies.measuring import FINISHED
from regplug.studies.reporting import ANALYSIS_FILE, BEST_TAG
from regplug.tracking import RunInfo, Store, open_store
from regplug.tracking.kinds import FINAL_TAG, STUDY_FILE, STUDY_TAG


def _ignore(_: str) -> None: ...


def export_named(
    names: Sequence[str],
    *,
    is_ensemble: bool = False,
    accept_changed_data: bool = False,
    tell: Callable[[str], None] = _ignore,
    registry: Registry | None = None,
    tracking_uri: str | None = None,
    **request: Any,
) -> Exported:
    """Exports and verifies a run, or the best setting of a study; or several runs as one model.

    A run of a study has no weights, so it is trained again, and its metrics are compared with those of the study. The
    best setting of a study that did not deliver it is trained again as a run of its own.

    Args:
        names: Runs or studies, each by its id, the beginning of its id, or its name; one, or at least two for an
            ensemble. An ensemble of one study has the runs of its best setting, one for each seed.
        is_ensemble: Whether the models are exported as one.
        accept_changed_data: Whether a run may be trained again on data that have changed.
        tell: Receives a message before each training.
        registry: The available components; by default all that are installed.
        tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the current folder.
        request: As for `export_tracked` or `export_ensemble`.

    Raises:
        RequestError: A run or study does not exist or cannot be exported; nothing was written.
        DataError: A dataset has changed since the training.
        ExportError: The model cannot be exported; no bundle is written.
        VerificationError: Metrics or a state differ from what was tracked, or a file differs from the model.
    """
    registry, store = registry or default_registry(), open_store(tracking_uri, is_read=True)
    found = [store.find_run(name) for name in names]
    if request.get("out") and not is_ensemble:
        owner = found[0].tags.get(WINNER_TAG, found[0].run_id)
        require_free(Path(request["out"]), owner, overwrite=request.get("overwrite", False), hint=OVERWRITE)
    preparing = _Preparing(store, registry, tracking_uri, accept_changed_data, tell)
    both: dict[str, Any] = {**request, "registry": registry, "tracking_uri": tracking_uri}
    if is_ensemble:
        if len(found) < 2 and not any(STUDY_TAG in info.tags for info in found):
            raise RequestError(
                f"An ensemble needs at least two runs, but only {len(found)} was named.",
                hint="Name more runs, or a study; or leave out --ensemble (ensemble=True).",
            )
        members = [member for name, info in zip(names, found, strict=True) for member in preparing.members(name, info)]
        exported = export_ensemble(members, **both)
    else:
        exported = export_tracked(preparing.run(found[0]), **both)
    return replace(exported, notes=(*exported.notes, *preparing.notes))


class _Preparing:
    """Makes sure that runs have what an export needs.

    Args:
        store: Their store.
        registry: The available components.
        tracking_uri: As for `export_named`.
        accept_changed_data: As for `export_named`.
        tell: As for `export_named`.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        tracking_uri: str | None,
        accept_changed_data: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._store, self._registry, self._tracking_uri = store, registry, tracking_uri
        self._accepts, self._tell = accept_changed_data, tell
        self.notes: list[str] = []

    def run(self, info: RunInfo) -> str:
        """Returns the id of the run to export: the run itself, or of a study the one with its best setting."""
        if STUDY_TAG in info.tags:
            return self._delivered(info)
        if info.parent_id is not None and not has_weights(self._store, info):
            self.notes.append(
                restore(self._store, info, self._registry, accept_changed_data=self._accepts, tell=self._tell)
            )
        return info.run_id

    def members(self, name: str, info: RunInfo) -> list[str]:
        """Returns the runs that go into an ensemble: of a study, those of its best setting."""
        if STUDY_TAG not in info.tags:
            self.run(info)
            return [name]
        finals = self._finals(info)
        if len(finals) > 1:
            return [each.run_id for each in finals]
        best = self._runs_of_best(info)
        alike = [each for each in best if each.params["data_seed"] == best[0].params["data_seed"]]
        if len(alike) < 2 or any("fold" in each.params for each in alike):
            raise RequestError(
                f"An ensemble needs at least two runs, but the study {info.name} has only one of its best setting "
                "that is trained on the dataset's own split.",
                hint="Run the study again with --final-seeds 5, or leave out --ensemble.",
            )
        return [self.run(each) for each in alike]

    def _delivered(self, info: RunInfo) -> str:
        """Returns the run that the study delivered; trains it if there is none."""
        winner = info.tags.get(WINNER_TAG)
        if winner is not None:
            return winner
        best = self._runs_of_best(info)
        config = tracked_config(self._store, best[0])
        if config is None:
            raise RequestError(
                f"The runs of the study {info.name} have no configurations: it was made by an older version.",
                hint="Run the best setting alone: the command is in the description of each run.",
            )
        config = config.replaced(fold="", export=False)
        self._require_same_rows(best[0], config)
        study, label = StudyConfig.from_dict(self._read(info, STUDY_FILE)), info.tags[BEST_TAG]
        self._tell(f"The study kept no model of its best setting, {label}: it is trained again.")
        finals = Finals(
            Best(
                config=config,
                label=label,
                study_id=info.run_id,
                study=info.name,
                experiment=info.experiment,
                metric=self._selected_by(info),
                minimize=study.minimize,
                seeds=study.final_seeds,
            ),
            registry=self._registry,
            store=self._store,
            tracking_uri=self._tracking_uri,
        ).train()
        self._store.attach(info.run_id).set_tags({WINNER_TAG: finals[0].run_id})
        self.notes.append(f"The best setting, {label}, was trained again as run {finals[0].run_id[:8]}.")
        return finals[0].run_id

    def _runs_of_best(self, info: RunInfo) -> list[RunInfo]:
        """Returns the finished runs of the best setting, the first seed first."""
        children = self._store.runs(info.experiment, limit=None, parent=info.run_id)
        finished = [child for child in children if child.status == FINISHED]
        label = info.tags.get(BEST_TAG)
        if not finished:
            raise RequestError(
                f"The study {info.name} ({info.run_id[:8]}) has no finished run, so there is nothing to export.",
                hint="`regplug runs list` shows how its runs ended.",
            )
        if not label:
            why = "has not ended" if info.status != FINISHED else "has chosen no setting"
            raise RequestError(
                f"The study {info.name} ({info.run_id[:8]}) {why}.",
                hint=f"`regplug runs resume {info.run_id[:8]}` continues it. `regplug runs list` shows its runs.",
            )
        best = [child for child in finished if child.params.get("setting") == label]
        return sorted(best, key=lambda child: (int(child.params["seed"]), int(child.params["data_seed"])))

    def _finals(self, info: RunInfo) -> list[RunInfo]:
        """Returns the runs with which the study trained its best setting again, the newest of each seed."""
        runs = self._store.runs(info.experiment, limit=None, tags={FINAL_TAG: info.run_id})
        newest = {run.params["seed"]: run for run in reversed(runs) if run.status == FINISHED}
        return sorted(newest.values(), key=lambda run: int(run.params["seed"]))

    def _require_same_rows(self, child: RunInfo, config: Any) -> None:
        request = check_request(config, self._registry, writes=False)
        data = load_data(request.config, request.components)
        now, seen = rows_digest(data.raw), child.tags.get(ROWS_TAG, "")
        if now != seen and not self._accepts:
            raise RequestError(
                f"Dataset {data.raw.name} is not the one of the study: the digest of its rows was {seen[:12]} and is "
                f"{now[:12]}.",
                hint=CHANGED_DATA_HINT,
            )

    def _selected_by(self, info: RunInfo) -> str:
        if ANALYSIS_FILE not in self._store.artifact_names(info.run_id):
            return ""
        return self._read(info, ANALYSIS_FILE).get("selected_by") or ""

    def _read(self, info: RunInfo, file: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self._store.read_artifact(info.run_id, file).read_text(encoding="utf-8"))
        return read
