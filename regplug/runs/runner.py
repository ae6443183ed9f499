"""One run from its configuration to its proven files: data, training, tracking, bundle."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from regplug.bundles.publish import require_free
from regplug.bundles.request import Bundle
from regplug.config import RunConfig
from regplug.exporting import DEPLOYED_FILE, deployment_requirements, deployment_samples, export_run
from regplug.measuring.final_metrics import measure_final
from regplug.measuring.metrics import confusion_matrix
from regplug.probes import Probe, ProbeView
from regplug.registry import Registry, build, default_registry
from regplug.registry.components import find_components, resolve_config
from regplug.reports.plots import confusion_matrix_png, curves_png
from regplug.runs.assembly import Assembly, assemble, load_data, pools_of, threads
from regplug.runs.description import describe_run
from regplug.runs.observers import PluginObservers
from regplug.runs.results import Observer, RunEpoch, RunFinished, RunResult, RunStarted
from regplug.sites import without_site_layers
from regplug.tracking import Store, TrackedRun, experiment_name, open_store
from regplug.training.loop import Pools, Trainer
from regplug.training.program import restore_tensors
from regplug.training.state_hash import state_sha256


def execute(
    config: RunConfig,
    *,
    registry: Registry | None = None,
    observers: Sequence[Observer] = (),
    tracking_uri: str | None = None,
) -> RunResult:
    """Trains, tracks, exports and verifies one run.

    Args:
        config: What to run.
        registry: What is installed; by default all of it.
        observers: Who is told, beside the observers of plugins.
        tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` here.

    Raises:
        RequestError: The request was wrong; nothing was started.
        FailedError: The run was tracked and ended FAILED.
    """
    registry = registry or default_registry()
    plugged = PluginObservers(registry, observers)
    stages = _Stages([*observers, plugged])
    config = resolve_config(config, registry)
    components = find_components(config, registry)
    if config.export:
        require_free(Path(config.out or "bundles/any"))
    with stages.stage("loading data"):
        data = load_data(config, components)
    with stages.stage("building"):
        made = assemble(config, components, data)
    with stages.stage("opening the tracking store"):
        store = open_store(tracking_uri)
    with threads(made.num_threads()):
        return _Run(made, store, observers, plugged, stages).execute()


class _Stages:
    """Tells observers which stage begins, and measures each."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        for observer in self._observers:
            observer.stage(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - began


class _Run:
    """One tracked run."""

    def __init__(
        self, made: Assembly, store: Store, observers: Sequence[Observer], plugged: PluginObservers, stages: _Stages
    ) -> None:
        self._made, self._store, self._stages = made, store, stages
        self._told, self._plugged = observers, plugged
        self._observers = [*observers, plugged]
        self._config, self._data = made.config, made.data
        self._warnings = tuple(f"{notice.message} {notice.hint}".strip() for notice in made.network.notices)
        self._probes: list[Probe] = [build(p.registered, p.spec.values) for p in made.components.probes]
        self._started: RunStarted | None = None
        self._metrics: dict[str, float] = {}
        self._history: dict[str, list[tuple[float, float]]] = {}
        train, valid, test = pools_of(made.data)
        self._trainer = Trainer(
            program=made.program,
            rule=made.rule,
            runs=[made.inputs],
            pools=Pools(train=train, valid=valid, test=test),
            course=made.course,
            places=made.network.places,
            stacked=False,
        )

    def execute(self) -> RunResult:
        """Runs it all, and tells how it ended."""
        try:
            result = self._run()
        except BaseException as error:
            if self._started is not None:
                ended = RunFinished.broken_off(
                    self._started, error, config=self._config, metrics=self._metrics, seconds=self._stages.seconds
                )
                for observer in (self._plugged, *self._told):
                    observer.run_finished(ended)
            raise
        self._plugged.run_finished(result)
        result = replace(result, warnings=(*self._warnings, *self._plugged.warnings))
        for observer in self._told:
            observer.run_finished(result)
        return result

    def _run(self) -> RunResult:
        made = self._made
        told = describe_run(made.config, made.components, warnings=self._warnings)
        experiment = experiment_name(told.experiment)
        bundle: Bundle | None = None
        with self._store.start_run(
            experiment=experiment, name=told.name, params=told.params, tags=told.tags
        ) as tracked:
            run = self._begin(tracked, told.name, experiment)
            with self._stages.stage("training"):
                self._train(tracked, run)
            with self._stages.stage("evaluating"):
                model = self._finish(tracked)
            if self._config.export:
                with self._stages.stage("exporting and verifying"):
                    bundle = self._export(tracked, model)
        return RunResult(
            run_id=tracked.run_id,
            run_name=told.name,
            experiment=experiment,
            tracking_uri=self._store.location.uri,
            status="FINISHED",
            config=self._config,
            metrics=self._metrics,
            state_sha256=state_sha256(model),
            model=model,
            warnings=self._warnings,
            bundle_path=bundle.path if bundle else None,
            bundle_files=bundle.files if bundle else (),
            verification=bundle.verification if bundle else None,
            seconds=self._stages.seconds,
        )

    def _begin(self, tracked: TrackedRun, name: str, experiment: str) -> RunStarted:
        raw = self._data.raw
        tracked.log_text(self._config.to_toml(), "config.toml")
        tracked.log_dict(self._config.to_dict(), "config.json")
        rows = {split_name: len(split) for split_name, split in raw.splits()}
        tracked.log_dataset(raw.name, self._data.digest, raw.source, profile={"rows": rows})
        info = RunStarted(
            run_id=tracked.run_id,
            name=name,
            experiment=experiment,
            tracking_uri=self._store.location.uri,
            epochs=self._config.epochs,
            steps_per_epoch=-(-len(self._data.train) // self._config.batch_size),
            warnings=self._warnings,
        )
        self._started = info
        for observer in self._observers:
            observer.run_started(info)
        return info

    def _train(self, tracked: TrackedRun, run: RunStarted) -> None:
        for record in self._trainer.train():
            values = {name: numbers[0] for name, numbers in record.metrics.items()}
            values |= self._probed() | {"time/epoch_s": record.seconds}
            self._log(tracked, values, record.epoch)
            seen = RunEpoch(
                run=run,
                epoch=record.epoch,
                metrics={name: [value] for name, value in values.items()},
                seconds=record.seconds,
            )
            for observer in self._observers:
                observer.epoch_ended(seen)

    def _finish(self, tracked: TrackedRun) -> nn.Module:
        """Finalizes, measures every split on the final weights and keeps state and figures."""
        trainer, data = self._trainer, self._data
        trainer.finish()
        final = measure_final(trainer, [data])[0]
        self._log(tracked, {**final.metrics, **self._probed()}, trainer.state.epoch)
        if data.task.is_classification:
            matrix = confusion_matrix(final.outputs["test"], data.raw.test.y)
            tracked.log_figure_png(confusion_matrix_png(matrix, data.task.class_names), "confusion_matrix.png")
        tracked.log_figure_png(curves_png(self._history), "curves.png")
        model = self._trained_model()
        _log_state(tracked, model)
        tracked.set_tags({"regplug.state_sha256": state_sha256(model)})
        return model

    def _trained_model(self) -> nn.Module:
        params, buffers = self._trainer.tensors_of(0)
        restore_tensors(self._made.program.model, params, buffers)
        return without_site_layers(self._made.program.model).cpu().eval()

    def _export(self, tracked: TrackedRun, model: nn.Module) -> Bundle:
        out = Path(self._config.out or f"bundles/{tracked.run_id[:8]}")
        bundle = export_run(self._made, model, run_id=tracked.run_id, out=out)
        tracked.log_folder(bundle.path, "bundle")
        tracked.set_tags({"regplug.bundle": str(bundle.path.absolute())})
        if DEPLOYED_FILE in bundle.files:
            inputs, outputs = deployment_samples(bundle)
            tracked.log_onnx_model(
                bundle.path / DEPLOYED_FILE,
                sample_input=inputs,
                sample_output=outputs,
                requirements=deployment_requirements(),
            )
        return bundle

    def _probed(self) -> dict[str, float]:
        if not self._probes:
            return {}
        params = self._trainer.weights_of(0)
        roles = {name: self._made.program.roles[name] for name in params}
        view = ProbeView(params=params, roles=roles)
        return {name: value for probe in self._probes for name, value in probe.measure(view).items()}

    def _log(self, tracked: TrackedRun, values: dict[str, float], epoch: int) -> None:
        tracked.log_metrics(values, epoch)
        self._metrics |= values
        for name, value in values.items():
            if not name.startswith("time/"):
                points = self._history.setdefault(name, [])
                if points and points[-1][0] == epoch:
                    points.pop()
                points.append((epoch, value))


def _log_state(tracked: TrackedRun, model: nn.Module) -> None:
    """Keeps the trained state, so that the run can be exported again."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "state.pt"
        torch.save(model.state_dict(), file)
        tracked.log_file(file)
