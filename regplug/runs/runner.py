"""Executes one run, from its configuration to its verified files: data, training, tracking, bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from regplug.config import Fold
from regplug.errors import RegplugError, raise_after_start
from regplug.measuring.final_metrics import Final, measure_final
from regplug.measuring.metric_log import MetricLog
from regplug.registry.faults import named_faults
from regplug.reports.plots import curves_png
from regplug.runs.assembly import Assembly, assemble, threads
from regplug.runs.background_process import Executor, InlineExecutor
from regplug.runs.checkpoints import Checkpoints
from regplug.runs.data_facts import facts_of
from regplug.runs.description import describe_run
from regplug.runs.doubts import GUESS_TAG, WARNINGS_TAG, doubt_of, guess_tag
from regplug.runs.earlier import Earlier
from regplug.runs.figures import Figures
from regplug.runs.interrupted import checkpoint_file
from regplug.runs.interrupting import interrupted_softly
from regplug.runs.leaving import log_bundle, log_rows, log_state
from regplug.runs.loading import load_data, noisy_inputs
from regplug.runs.observers import PluginObservers
from regplug.runs.probe_figures import ProbeFigures
from regplug.runs.request import RunRequest
from regplug.runs.results import Observer, RunEpoch, RunResult, RunStarted, status_after
from regplug.runs.stored import CONFIG_FILE, require_same_data
from regplug.runs.telling import RunEvents
from regplug.runs.trained import probing_of, trained_model, trainer_of
from regplug.tracking import Store, TrackedRun, address_of, open_store, runs_url
from regplug.tracking.kinds import CHECKPOINT_TAG
from regplug.tracking.views import EXPERIMENT_VIEW
from regplug.training.course import EpochRecord
from regplug.training.state_hash import state_sha256

if TYPE_CHECKING:
    from regplug.bundles.request import Bundle
    from regplug.bundles.untrained import UntrainedGraph


@named_faults()
def execute(
    request: RunRequest,
    *,
    observers: Sequence[Observer] = (),
    tracking_uri: str | None = None,
    tags: Mapping[str, str] | None = None,
    earlier: Earlier | None = None,
    is_soft: bool = False,
    is_interrupted: Callable[[], bool] | None = None,
    computing: Executor | None = None,
) -> RunResult:
    """Trains, tracks, exports and verifies one run.

    Args:
        request: The checked run.
        observers: Receive the run's events, in addition to the observers of plugins.
        tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` here.
        tags: Further tags of the run.
        earlier: What an interrupted run left that is resumed; `None` for a new run.
        is_soft: Whether Ctrl-C ends the training after the current epoch, so that what was trained is evaluated and
            exported, and the result is KILLED. Else it raises `KeyboardInterrupt`, as callers in a loop expect.
        is_interrupted: Returns whether the training should end after the current epoch, for a caller that handles
            Ctrl-C itself.
        computing: Draws the figures while the run goes on; `None` draws them in this process.

    Raises:
        RequestError: The request was wrong; nothing was started.
        FailedError: The run was tracked and ended FAILED.
    """
    config, components = request.config, request.components
    asked = _Asked(
        earlier=earlier,
        is_soft=is_soft,
        is_interrupted=is_interrupted,
        computing=computing or InlineExecutor(),
    )
    events = RunEvents(observers, PluginObservers(request.registry, observers))
    stages = events.stages
    with stages.stage("loading data"):
        data = load_data(config, components)
    if earlier is not None:
        seen = earlier.digests.get(data.raw.name)
        require_same_data(data, seen, earlier.run_id[:8], hint="Restore the data, or train a new run.")
    with stages.stage("building"):
        made = assemble(config, components, data)
    untrained = None
    if config.export:
        from regplug.exporting import require_exportable  # a run without an export does not pay for its imports

        with stages.stage("checking that the model can be exported"), threads(made.num_threads()):
            untrained = require_exportable(made)
    with stages.stage("opening the tracking store"):
        store = open_store(tracking_uri)
    with threads(made.num_threads()):
        run = _Run(made, store, events, asked)
        run.untrained = untrained
        return run.execute(tags or {})


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the caller of `execute` asks for besides the run itself."""

    earlier: Earlier | None
    is_soft: bool
    is_interrupted: Callable[[], bool] | None
    computing: Executor


class _Run:
    """One tracked run."""

    def __init__(self, made: Assembly, store: Store, events: RunEvents, asked: _Asked) -> None:
        self._made, self._store, self._asked = made, store, asked
        self._events, self._stages = events, events.stages
        self._config, self._data = made.config, made.data
        notices = (f"{notice.message} {notice.hint}".strip() for notice in made.network.notices)
        events.doubts = (*made.data.raw.notes, *notices)
        self._probing = probing_of(made)
        self._model: nn.Module | None = None
        self._bundle: Bundle | None = None
        self.untrained: UntrainedGraph | None = None
        self._guess = ""
        self._facts = facts_of(made.data, folds=Fold.parse(made.config.fold).count if made.config.fold else 0)
        self._trainer = trainer_of(made, probed=bool(self._probing))
        self._figures = Figures(asked.computing)
        self._earlier, self._interrupted = asked.earlier, False
        checkpoint = self._earlier.checkpoint if self._earlier is not None else None
        self._measured = MetricLog(checkpoint["history"] if checkpoint else None)
        if checkpoint:
            self._trainer.load_dict(checkpoint["training"])
        self._probe_figures = ProbeFigures(self._probing, self._trainer)

    def execute(self, tags: Mapping[str, str]) -> RunResult:
        """Executes the run with these further tags, and reports how it ended."""
        tracked = self._open(tags)
        tracked.on_trouble(self._events.warn)
        if self._config.system_metrics:
            tracked.measure_system()
        try:
            with tracked, named_faults():
                model = self._carry_out(tracked)
        except BaseException as error:
            self._events.run_broken_off(error, tracked, self._config, self._measured.last)
            if isinstance(error, RegplugError):
                self._tell_bundle(error)
                raise_after_start(error, self._reached(tracked, error))
            raise
        return self._events.run_finished(self._result(tracked, model, tracked.status))

    def _open(self, tags: Mapping[str, str]) -> TrackedRun:
        """Starts a run in the store, or resumes the earlier one."""
        if self._earlier is not None:
            return self._store.resume_run(self._earlier.run_id, self._earlier.info)
        made, fold = self._made, self._made.config.fold
        told = describe_run(
            made.config,
            made.components,
            data=self._facts,
            warnings=self._events.doubts,
            fold=f"fold {fold}" if fold else "",
        )
        return self._store.start_run(
            experiment=told.experiment,
            name=told.name,
            params=told.params,
            tags={**told.tags, **tags},
            shown=told.shown,
            off=told.off,
        )

    def _carry_out(self, tracked: TrackedRun) -> nn.Module:
        run = self._begin(tracked)
        file = checkpoint_file(self._store, tracked.run_id)
        with Checkpoints(file, self._config.checkpoint_every, self._events.warn) as checkpoints:
            model = self._train_and_export(tracked, run, checkpoints)
            if self._interrupted:
                tracked.ends_as = "KILLED"
            else:
                checkpoints.remove()
        return model

    def _train_and_export(self, tracked: TrackedRun, run: RunStarted, checkpoints: Checkpoints) -> nn.Module:
        tracked.set_tags({CHECKPOINT_TAG: str(checkpoints.path)})
        for epoch, values in self._earlier.lost_points().items() if self._earlier is not None else ():
            tracked.log_metrics(values, epoch)
        with self._stages.stage("training"):
            self._train(tracked, run, checkpoints)
        with self._figures.logged_to(tracked):
            with self._stages.stage("evaluating"):
                self._model = model = self._finish(tracked)
            if self._config.export:
                with self._stages.stage("exporting and verifying"):
                    self._bundle = self._export(tracked.run_id, model)
        if self._bundle is not None:
            log_bundle(tracked, self._bundle)
        return model

    def _reached(self, tracked: TrackedRun, error: BaseException) -> RunResult | None:
        return None if self._model is None else self._result(tracked, self._model, status_after(error))

    def _result(self, tracked: TrackedRun, model: nn.Module, status: str) -> RunResult:
        bundle = self._bundle
        return RunResult(
            run_id=tracked.run_id,
            run_name=tracked.name,
            experiment=tracked.experiment,
            tracking_uri=self._store.location.shown,
            status=status,
            store_status=tracked.status,
            missing=tracked.missing,
            config=self._config,
            metrics=self._measured.last,
            state_sha256=state_sha256(model),
            model=model,
            warnings=self._events.warnings,
            kept=self._data.kept,
            guess=self._guess,
            bundle_path=bundle.path if bundle else None,
            bundle_files=bundle.files if bundle else (),
            verification=bundle.verification if bundle else None,
            history=self._measured.curves(),
            probe_seconds=self._probing.seconds,
            runs_url=runs_url(address_of(self._store.location), tracked.experiment_id, EXPERIMENT_VIEW),
            seconds=self._stages.seconds,
        )

    def _tell_bundle(self, error: RegplugError) -> None:
        if self._bundle is not None:
            error.message += f" The bundle {self._bundle.path} is complete and verified."

    def _begin(self, tracked: TrackedRun) -> RunStarted:
        raw = self._data.raw
        tracked.log_text(self._config.to_toml(), CONFIG_FILE)
        tracked.log_dict(self._config.to_dict(), "config.json")
        rows = {split_name: len(split) for split_name, split in raw.splits()}
        if self._earlier is None or raw.name not in self._earlier.digests:
            tracked.log_dataset(raw.name, self._data.digest, raw.source, profile={"rows": rows})
        info = RunStarted(
            run_id=tracked.run_id,
            name=tracked.name,
            experiment=tracked.experiment,
            tracking_uri=self._store.location.shown,
            epochs=self._config.epochs,
            steps_per_epoch=-(-len(self._data.train) // self._config.batch_size),
            warnings=self._events.doubts,
        )
        self._events.run_started(info)
        return info

    def _train(self, tracked: TrackedRun, run: RunStarted, checkpoints: Checkpoints) -> None:
        with interrupted_softly(self._events.warn, is_on=self._asked.is_soft) as is_pressed:
            is_interrupted = self._asked.is_interrupted or is_pressed
            for record in self._trainer.train():
                self._end_epoch(tracked, run, record)
                self._interrupted = is_interrupted() and record.epoch < self._config.epochs
                checkpoints.offer(self._progress, must=self._interrupted)
                if self._interrupted:
                    self._events.warn(
                        f"Interrupted after epoch {record.epoch} of {self._config.epochs}. "
                        f"`regplug runs resume {tracked.run_id[:8]}` continues the run."
                    )
                    return

    def _progress(self) -> dict[str, Any]:
        return {"training": self._trainer.to_dict(), "history": self._measured.history_copy()}

    def _end_epoch(self, tracked: TrackedRun, run: RunStarted, record: EpochRecord) -> None:
        values = {name: numbers[0] for name, numbers in record.metrics.items()}
        if any(name.startswith(("valid/", "test/")) for name in values):
            values |= self._probing.measure(self._trainer)
        values["time/epoch_s"] = record.seconds
        self._log(tracked, values, record.epoch)
        metrics = {name: [value] for name, value in values.items()}
        self._events.epoch_ended(RunEpoch(run=run, epoch=record.epoch, metrics=metrics, seconds=record.seconds))

    def _finish(self, tracked: TrackedRun) -> nn.Module:
        """Finalizes the run, measures every split on the final weights, and stores the state."""
        trainer, data = self._trainer, self._data
        trainer.finish()
        judged = "valid" if self._config.fold else "test"
        noisy = noisy_inputs([data], [self._config])
        final = measure_final(trainer, [data], judged=judged, noisy=noisy, keeps_rows=judged == "test")[0]
        values = {**final.metrics, **self._probing.measure_final(trainer)}
        self._log(tracked, values, trainer.state.epoch, is_final=True)
        self._figures.draw("curves.png", curves_png, self._measured.curves())
        for name, figure in self._probe_figures.draw(self._measured.history):
            tracked.log_figure_png(figure, f"probes/{name}.png")
        model = trained_model(trainer, self._made)
        log_state(tracked, model)
        log_rows(
            tracked,
            final,
            data,
            self._figures,
            digest=self._facts.judged_digest,
            keeps_outputs=self._config.keep_predictions,
        )
        self._doubt(tracked, final)
        tracked.flush()  # a process killed while it exports has tracked what the weights are worth
        return model

    def _doubt(self, tracked: TrackedRun, final: Final) -> None:
        """Reports and records a run that is no better than guessing."""
        doubt = doubt_of(final, self._made, self._data, self._config.lr)
        if not doubt:
            return
        self._guess = guess_tag(final)
        doubts = " ".join((*self._events.doubts, doubt))
        tracked.set_tags({WARNINGS_TAG: doubts} | ({GUESS_TAG: self._guess} if self._guess else {}))
        self._events.doubt(doubt)

    def _export(self, run_id: str, model: nn.Module) -> Bundle:
        from regplug.exporting import export_run

        out = Path(self._config.out or f"bundles/{run_id[:8]}")
        return export_run(self._made, model, run_id=run_id, out=out, untrained=self.untrained)

    def _log(self, tracked: TrackedRun, values: dict[str, float], epoch: int, *, is_final: bool = False) -> None:
        new = self._measured.new_points(epoch, values)
        self._measured.put(epoch, values)
        if self._earlier is not None:
            new = self._earlier.new_points(new, epoch, is_final=is_final)
        tracked.log_metrics(new, epoch)
