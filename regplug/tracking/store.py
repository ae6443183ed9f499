"""An open tracking store: starts, resumes, delivers and deletes runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from regplug.errors import RequestError, TrackingError, raise_after_start
from regplug.tracking import columns, limits, registering, tables
from regplug.tracking.burying import mark_dead_runs
from regplug.tracking.children import ChildRun, add_columns, write_through_client
from regplug.tracking.claiming import claiming, require_unclaimed
from regplug.tracking.copying import Copied, copy_runs
from regplug.tracking.datasets import log_inputs
from regplug.tracking.experiments import Experiments
from regplug.tracking.liveness import heartbeat_tags, writing
from regplug.tracking.location import Location, resolve_location
from regplug.tracking.naming import safe_key
from regplug.tracking.opening import open_backend
from regplug.tracking.outbox import FOLDER, Outbox
from regplug.tracking.patience import AT_THE_ENDS, bounded
from regplug.tracking.reaching import PROBE_TIMEOUT_S, reach
from regplug.tracking.read_store import ReadStore
from regplug.tracking.reading import RunInfo
from regplug.tracking.reserve import Reserve
from regplug.tracking.run import TrackedRun
from regplug.tracking.run_end import ERROR_TAG
from regplug.tracking.syncing import Synced, sync
from regplug.tracking.system import source_tags, system_tags
from regplug.tracking.trouble import tracking_trouble


def open_store(
    tracking_uri: str | None = None, folder: Path = Path(), *, is_read: bool = False, marks_dead: bool = True
) -> Store:
    """Opens the tracking store: `tracking_uri`, else `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in `folder`.

    A missing store is created once, even if several processes open it at the same time. MLflow is imported here and
    not earlier.

    Args:
        tracking_uri: An MLflow tracking URI or `None`.
        folder: Folder of the default store.
        is_read: Whether the store must already exist, because it is opened for reading.
        marks_dead: Whether RUNNING runs of this machine whose process is gone are marked KILLED.

    Raises:
        TrackingError: It cannot be reached or written, is of a kind that MLflow no longer supports, or does not exist.
    """
    location = resolve_location(tracking_uri, folder)
    if is_read:
        location.require_there()
    client, sql_store = open_backend(location)
    if marks_dead:
        mark_dead_runs(client)
    return Store(location, client, sql_store)


class Store(ReadStore):
    """An open store. Created by `open_store`.

    Args:
        location: Its location.
        client: MLflow's client on it.
        sql_store: MLflow's SQL store on it, or `None` for a server.
    """

    def __init__(self, location: Location, client: Any, sql_store: Any) -> None:
        super().__init__(location, client, sql_store)
        self._experiments = Experiments(client, location)
        self._begun: dict[int, str] = {}

    def start_run(
        self,
        *,
        experiment: str,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        parent: str | None = None,
        shown: frozenset[str] | None = None,
        off: Mapping[str, object] | None = None,
    ) -> TrackedRun:
        """Starts a run, with facts about machine and code as tags.

        Args:
            experiment: Its experiment, created if it is new. MLflow's environment variables take precedence.
            name: Its name.
            params: Its parameters, flat.
            tags: Its tags.
            parent: Id of the study's run, for a child.
            shown: The parameters that make columns of the experiment; `None` to log all without making columns.
            off: Value of a parameter at which it has no effect, for the runs to which it does not apply.

        Raises:
            TrackingError: The store cannot be written; nothing was started.
            TrackingLostError: The run was started, but further writes failed.
        """
        name_kept = self.experiment_name(experiment)
        texts = {safe_key(key): text for key, text in tags.items()}
        start_tags = {**source_tags(), **system_tags(), **heartbeat_tags(), **limits.shorten_all(texts)}
        rest = {} if shown is None else columns.defaults_tag(columns.texts_of(params), shown)
        start_tags |= rest
        if parent is not None:
            start_tags["mlflow.parentRunId"] = parent
        with tracking_trouble("The run could not be started"), bounded(AT_THE_ENDS):
            reserve = self._reserve()
            experiment_id = self.experiment_id(name_kept)
            created = self._client.create_run(experiment_id, tags=start_tags, run_name=name)
        run = self._tracked(created, name_kept, reserve)
        writing.add(run.run_id)
        with _begun(run):
            run.keep_long(limits.too_long(texts, limits.MAX_TAG_LENGTH))
            if rest:
                params = self._columns_of_run(run, params, shown or (), off or {})
            run.log_params(params)
        return run

    def _columns_of_run(
        self, run: TrackedRun, params: Mapping[str, object], shown: Collection[str], off: Mapping[str, object]
    ) -> Mapping[str, object]:
        """Adds a run's columns to its experiment; returns the parameters that it logs."""
        with tracking_trouble("Parameters could not be logged"), bounded(AT_THE_ENDS):
            book = columns.ColumnBook(self._client, run.experiment_id)
            all_of_them, new = book.extend(shown, off)
        if new:
            run.post_columns(new, partial(self._fill, run.experiment_id, new))
        return columns.logged(columns.texts_of(params), all_of_them)

    def _fill(self, experiment_id: str, new: columns.Columns) -> None:
        columns.ColumnBook(self._client, experiment_id).keep_view()
        if self._sql_store is None or not tables.are_known():
            columns.ColumnBook(self._client, experiment_id).fill(new)
        else:
            tables.fill_columns(self._sql_store, experiment_id, new)

    def resume_run(self, text: str, seen: RunInfo | None = None) -> TrackedRun:
        """Resumes a run: the same MLflow run is RUNNING again, written by this process.

        Args:
            text: Its id, the beginning of its id, or its name.
            seen: The run as it was before its checkpoint was read; `None` if it is not continued from one.

        Raises:
            RequestError: There is no such run, or another process is writing it, or has written it since.
            TrackingError: The store cannot be written; the run is unchanged.
            TrackingLostError: The run was resumed, but further writes failed.
        """
        with claiming(self.location.folder), tracking_trouble("The run could not be continued"), bounded(AT_THE_ENDS):
            info = self.find_run(text)
            require_unclaimed(info, seen)
            run = self._tracked(self._client.get_run(info.run_id), info.experiment, self._reserve())
            # The process first: another command would mark a RUNNING run of a dead process as KILLED.
            for key, value in heartbeat_tags().items():
                self._client.set_tag(info.run_id, key, value)
            self._client.update_run(info.run_id, status="RUNNING")
        writing.add(info.run_id)
        with _begun(run):
            if ERROR_TAG in info.tags:
                with tracking_trouble("The run could not be continued"), bounded(AT_THE_ENDS):
                    self._client.delete_tag(info.run_id, ERROR_TAG)
        return run

    def attach(self, run_id: str) -> TrackedRun:
        """Returns a run for adding files and tags; its status and end time do not change.

        Args:
            run_id: The full id.
        """
        with tracking_trouble("The run could not be opened"):
            info = self.find_run(run_id)
            return self._tracked(self._client.get_run(run_id), info.experiment, Reserve(None))

    def log_children(self, parent_id: str, experiment: str, children: Sequence[ChildRun]) -> Iterator[list[str]]:
        """Writes many finished children of a study's run, in few transactions.

        After the store was lost, calling it again with the same objects continues the unfinished ones.

        Args:
            parent_id: The study's run.
            experiment: That run's experiment; MLflow's environment variables take precedence, as for the parent.
            children: The runs.

        Yields:
            Ids of written children, in order.

        Raises:
            TrackingError: The store cannot be written.
        """
        with tracking_trouble("The study's runs could not be logged"):
            experiment_id = self.experiment_id(self.experiment_name(experiment))
            user = source_tags()["mlflow.user"]
            both, new = add_columns(columns.ColumnBook(self._client, experiment_id), children)
            if self._sql_store is None or not tables.are_known():
                yield from write_through_client(
                    self._client, experiment_id, parent_id, user, children, self._begun, both
                )
            else:
                # The study has all of them. MLflow writes them, as another process may write the same ones.
                used = {child.dataset.key: child.dataset for child in children if child.dataset is not None}
                if used:
                    log_inputs(self._client, parent_id, [dataset.as_input() for dataset in used.values()])
                yield from tables.write_children(self._sql_store, experiment_id, parent_id, user, children, both)
            if both:
                self._fill_others(experiment_id, both, new)

    def _fill_others(self, experiment_id: str, used: columns.Columns, new: columns.Columns) -> None:
        """Logs new columns in earlier runs, and in the runs just written the columns that others added meanwhile."""
        now = columns.ColumnBook(self._client, experiment_id).read()
        added = {**new, **{key: off for key, off in now.items() if key not in used}}
        if added:
            self._fill(experiment_id, added)

    def experiment_name(self, asked: str) -> str:
        """Returns the experiment of new runs: that of `MLFLOW_EXPERIMENT_NAME` or `_ID`, else the requested one.

        Raises:
            TrackingError: There is no such experiment, or the two variables contradict each other.
        """
        return self._experiments.name_of(asked)

    def experiment_id(self, name: str) -> str:
        """Returns the id of an experiment, which is created if it is new.

        Raises:
            TrackingError: A deleted experiment in MLflow still has the name.
        """
        return self._experiments.id_of(name)

    def delete_run(self, run_id: str) -> None:
        """Deletes a run as MLflow's UI does: it can be restored until `mlflow gc` removes it for good.

        Args:
            run_id: The full id.
        """
        with tracking_trouble("The run could not be deleted"), bounded(AT_THE_ENDS):
            self._client.delete_run(run_id)

    def mark_dead_runs(self) -> list[str]:
        """Marks runs of this machine whose process is gone as KILLED; returns their ids."""
        return mark_dead_runs(self._client)

    def sync(self, run_id: str = "") -> Iterator[Synced]:
        """Delivers what was kept on disk while the store was lost. See `syncing.sync`.

        Args:
            run_id: Only this run; by default all.
        """
        yield from sync(self._client, self.location.folder, self._reach(), run_id)

    def copy_from(self, source: Store) -> Iterator[Copied]:
        """Copies the runs of another store into this one. See `copying.copy_runs`.

        Raises:
            RequestError: It is this store.
        """
        if source.location.uri == self.location.uri:
            raise RequestError(
                f"The runs are in {self.location.shown} already.",
                hint="Set MLFLOW_TRACKING_URI, or give --tracking-uri, to name the store that they are copied to.",
            )
        yield from copy_runs(source._client, self._client, self._experiments)

    def catch_up(self, run_id: str) -> bool:
        """Delivers what was kept on disk of a run, before it is continued; returns whether there was anything.

        Raises:
            TrackingError: It cannot be delivered; nothing was changed otherwise.
        """
        synced = None
        for synced in self.sync(run_id):
            if synced.why:
                raise TrackingError(
                    f"The run {synced.name} has records that are not in the store. {synced.why}",
                    hint=f"They are kept in {synced.path}: `regplug runs sync` delivers them.",
                )
        return synced is not None

    def register_model(self, model_uri: str, *, run_id: str, name: str, alias: str = "") -> str:
        """Registers a run's logged model under a name and returns its version. See `registering.register`.

        Raises:
            TrackingError: The registry cannot be written.
        """
        return registering.register(self._client, model_uri, run_id=run_id, name=name, alias=alias)

    def _reserve(self) -> Reserve:
        database = self.location.database
        return Reserve(database.parent if database is not None else None)

    def _tracked(self, run: Any, experiment: str, reserve: Reserve) -> TrackedRun:
        facts = {"run_id": run.info.run_id, "name": run.info.run_name, "store": self.location.shown}
        outbox = None if self.location.kind == "sqlite" else Outbox(self.location.folder / FOLDER, facts)
        return TrackedRun(
            self._client,
            run,
            experiment=experiment,
            store=self.location.shown,
            reserve=reserve,
            outbox=outbox,
            reach=self._reach(),
        )

    def _reach(self) -> Callable[[], None] | None:
        if self.location.kind == "sqlite":
            return None
        return partial(reach, self.location, PROBE_TIMEOUT_S)


@contextmanager
def _begun(run: TrackedRun) -> Iterator[None]:
    """Ends a run that fails immediately after its start."""
    try:
        yield
    except BaseException as error:
        run.__exit__(type(error), error, error.__traceback__)
        if isinstance(error, TrackingError):
            raise_after_start(error)
        raise
