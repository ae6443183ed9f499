"""Exports a tracked run again, from its configuration and its trained state, after comparing both with the store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from regplug.bundles.publish import OVERWRITE, require_free
from regplug.bundles.request import Bundle
from regplug.bundles.writing import write_bundle
from regplug.config import RunConfig, load_config
from regplug.data import Prepared
from regplug.errors import (
    DataError,
    RegplugError,
    RequestError,
    UnknownComponentError,
    VerificationError,
    raise_after_start,
)
from regplug.exporting.deployment import (
    DEPLOYED_FILE,
    deployment_requirements,
    deployment_samples,
    live_disagreement,
)
from regplug.exporting.of_run import rebuilt_network, request_of_run
from regplug.exporting.records import Exported, Registered
from regplug.registry import Registry, default_registry
from regplug.registry.components import Components, find_components
from regplug.runs.loading import load_data
from regplug.tracking import RunInfo, Store, open_store
from regplug.tracking.registering import check_registration
from regplug.training.ensemble import count_members
from regplug.training.state_hash import state_sha256

CONFIG_FILE, STATE_FILE, BUNDLE_FOLDER, STOCHASTIC_FOLDER = "config.toml", "state.pt", "bundle", "bundle_stochastic"
"""The stored files of a run that an export needs, with their names in messages."""

_STATE_TAG, _BUNDLE_TAG, _STOCHASTIC_TAG = "regplug.state_sha256", "regplug.bundle", "regplug.bundle_stochastic"
_DIGEST_KEPT = 36


def export_tracked(
    run: str,
    *,
    formats: Sequence[str] = (),
    out: str | Path | None = None,
    probabilities: bool = False,
    stochastic: bool = False,
    register: str = "",
    alias: str = "",
    overwrite: bool = False,
    registry: Registry | None = None,
    tracking_uri: str | None = None,
) -> Exported:
    """Exports and verifies a tracked run's model again.

    The bundle is stored with the run if the run has none yet. With `register`, the ONNX file is logged as a model of
    the run and registered.

    Args:
        run: The run's id, the beginning of its id, or its name.
        formats: Formats as components; by default those of the run.
        out: The bundle's folder; by default `bundles/` and the start of the run id, followed by `-stochastic` for a
            stochastic bundle.
        probabilities: Whether the graph ends in a softmax.
        stochastic: Whether dropout stays live in inference (MC dropout).
        register: Name of the registered model that gets a new version; empty for none.
        alias: Alias that points to that version; empty for none.
        overwrite: Whether to replace an existing bundle of another run or module at `out`; the run's own always is.
        registry: The available components; by default all that are installed.
        tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the current folder.

    Raises:
        RequestError: There is no such run, it stored no trained state, or the request does not fit it.
        DataError: The dataset has changed since the training.
        ExportError: The model cannot be exported; no bundle is written.
        VerificationError: The state is not the one that was tracked, or a file differs from the model.
        TrackingLostError: The bundle is written, but the store cannot save or register it.
    """
    check_registration(register, alias)
    registry, store = registry or default_registry(), open_store(tracking_uri, is_read=True)
    info = store.find_run(run)
    place = Path(out or f"bundles/{info.run_id[:8]}{'-stochastic' if stochastic else ''}")
    require_free(place, info.run_id, overwrite=overwrite, hint=OVERWRITE)
    kept = _Kept(store, info, registry, formats)
    if register:
        kept.require_deployable()
    began = time.perf_counter()
    data = kept.load_data()
    components = kept.components.for_task(data.task)
    model = kept.load_model(data)
    seconds = {"rebuild": time.perf_counter() - began}
    request = request_of_run(
        kept.config,
        components,
        data,
        model,
        run_id=info.run_id,
        probabilities=probabilities,
        stochastic=stochastic,
    )
    bundle = write_bundle(request, place)
    exported = Exported.of(
        bundle,
        seconds={**seconds, **bundle.seconds},
        run_id=info.run_id,
        run_name=info.name,
        tracking_uri=store.location.shown,
    )
    where = (STOCHASTIC_FOLDER, _STOCHASTIC_TAG) if stochastic else (BUNDLE_FOLDER, _BUNDLE_TAG)
    try:
        _keep(store, info, bundle, *where)
        model_uri, registered = _register(store, info, bundle, register, alias)
    except RegplugError as error:
        error.message += f" The bundle {bundle.path} is complete and verified."
        raise_after_start(error, exported)
    return replace(exported, model_uri=model_uri, registered=registered)


class _Kept:
    """The stored parts of a run: its configuration with the requested formats, its data and its trained state.

    Args:
        store: Its store.
        info: The run.
        registry: The installed components.
        formats: Formats as components; empty for those of the run.
    """

    def __init__(self, store: Store, info: RunInfo, registry: Registry, formats: Sequence[str]) -> None:
        self._store, self._info = store, info
        missing = [name for name in (CONFIG_FILE, STATE_FILE) if name not in store.artifact_names(info.run_id)]
        if missing:
            raise RequestError(f"Run {info.name} ({info.run_id[:8]}) has no {missing[0]}.", hint=_why(info))
        flags = {"format": tuple(formats) or None, "export": True}
        self.config: RunConfig = load_config(store.read_artifact(info.run_id, CONFIG_FILE), flags=flags)
        # The model is exported from the CPU, wherever it was trained.
        self._here = replace(self.config, device="cpu")
        self.components = self._find(registry)

    def _find(self, registry: Registry) -> Components:
        try:
            return find_components(self._here, registry)
        except UnknownComponentError as error:
            if "'yours/" not in error.message:
                raise
            raise RequestError(
                f"Run {self._info.name} was trained with a Python object: {error.message}",
                hint="Pass the same object again: regplug.export(run, model=..., dataset=...).",
            ) from error

    def require_deployable(self) -> None:
        """Checks that the formats include the file to register."""
        files = [chosen.registered.component.filename for chosen in self.components.formats]  # type: ignore[attr-defined] # found as formats
        if DEPLOYED_FILE not in files:
            raise RequestError(
                f"{DEPLOYED_FILE} would be registered, but no requested format writes it.", hint="Add --format onnx."
            )

    def load_data(self) -> Prepared:
        """Returns the data after checking that they have not changed since the run."""
        data = load_data(self._here, self.components)
        digests = self._store.dataset_digests(self._info.run_id)
        seen = digests.get(data.raw.name)
        if seen is not None and seen != data.digest[:_DIGEST_KEPT]:
            raise DataError(
                f"Dataset {data.raw.name} is not the one that run {self._info.name} was trained on: "
                f"its digest was {seen[:12]} and is {data.digest[:12]}.",
                hint="Restore the data: normalisation and test accuracy of the file are computed from them.",
            )
        return data

    def load_model(self, data: Prepared) -> nn.Module:
        """Returns the trained network after checking that its state is the one that was tracked."""
        state = torch.load(
            self._store.read_artifact(self._info.run_id, STATE_FILE), map_location="cpu", weights_only=True
        )
        model = rebuilt_network(self._here, self.components, data, count_members(list(state)))
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise VerificationError(
                f"The trained state of run {self._info.name} does not fit its rebuilt model: {error}",
                hint="The code of the model or of a regularizer has changed since the run; restore it.",
            ) from error
        digest, tracked = state_sha256(model), self._info.tags.get(_STATE_TAG)
        if tracked is not None and digest != tracked:
            raise VerificationError(
                f"{STATE_FILE} of run {self._info.name} is not the trained state: its sha256 is {digest[:16]}, "
                f"but {tracked[:16]} was tracked.",
                hint="The file was changed after the run; train again: regplug run --config config.toml.",
            )
        return model.eval()


def _why(info: RunInfo) -> str:
    if info.parent_id is not None:
        return "A study stores the metrics of its runs, not their weights: train it alone with `regplug run`."
    if info.status == "FINISHED":
        return "It was not tracked by `regplug run`. Export your own module with regplug.export(module, example, out)."
    return f"It ended {info.status}: train it again with `regplug run`."


def _keep(store: Store, info: RunInfo, bundle: Bundle, folder: str, tag: str) -> None:
    """Stores the bundle with the run if the run has no such bundle yet."""
    if folder in store.artifact_names(info.run_id):
        return
    tracked = store.attach(info.run_id)
    tracked.log_folder(bundle.path, folder)
    tracked.set_tags({tag: str(bundle.path.absolute())})


def _register(store: Store, info: RunInfo, bundle: Bundle, name: str, alias: str) -> tuple[str, Registered | None]:
    if not name:
        return "", None
    inputs, outputs = deployment_samples(bundle)
    model_uri = store.attach(info.run_id).log_onnx_model(
        bundle.path / DEPLOYED_FILE,
        sample_input=inputs,
        sample_output=outputs,
        requirements=deployment_requirements(),
        disagreement=live_disagreement(bundle),
    )
    version = store.register_model(model_uri, run_id=info.run_id, name=name, alias=alias)
    return model_uri, Registered(name=name, version=version, alias=alias, uri=f"models:/{name}/{version}")
