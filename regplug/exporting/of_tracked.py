"""Exports a tracked run again, from its configuration and its trained state, after comparing both with the store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from regplug.bundles.origin import digest_tag
from regplug.bundles.publish import OVERWRITE, require_free
from regplug.bundles.request import Bundle, licensed
from regplug.bundles.signing import load_signer
from regplug.bundles.writing import write_bundle
from regplug.errors import RegplugError, raise_after_start
from regplug.exporting.deployment import (
    DEPLOYED_FILE,
    deployment_requirements,
    deployment_samples,
    live_disagreement,
)
from regplug.exporting.kept import Kept
from regplug.exporting.records import Exported, Registered
from regplug.registry import Registry, default_registry
from regplug.tracking import RunInfo, Store, open_store
from regplug.tracking.registering import check_registration

BUNDLE_FOLDER, STOCHASTIC_FOLDER = "bundle", "bundle_stochastic"
_BUNDLE_TAG, _STOCHASTIC_TAG = "regplug.bundle", "regplug.bundle_stochastic"


def export_tracked(
    run: str,
    *,
    formats: Sequence[str] = (),
    out: str | Path | None = None,
    probabilities: bool = False,
    stochastic: bool = False,
    calibrate: str | None = None,
    conformal: float | None = None,
    register: str = "",
    alias: str = "",
    license_id: str = "",
    sign: Path | None = None,
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
        probabilities: Whether the graph ends in a softmax (for labels, a sigmoid).
        stochastic: Whether dropout stays live in inference (MC dropout).
        calibrate: `temperature`, `none`, or `None` for that of the run.
        conformal: Coverage of prediction sets or intervals; 0 for none, `None` for that of the run.
        register: Name of the registered model that gets a new version; empty for none.
        alias: Alias that points to that version; empty for none.
        license_id: The model's licence, such as `apache-2.0`; empty if unknown.
        sign: The secret key (minisign) with which the bundle is signed.
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
    kept = Kept(store, info, registry, formats, calibrate=calibrate, conformal=conformal)
    signer = None if sign is None else load_signer(sign)
    if register:
        kept.require_deployable()
    began = time.perf_counter()
    data = kept.load_data()
    request = kept.request(data, probabilities=probabilities, stochastic=stochastic)
    seconds = {"rebuild": time.perf_counter() - began}
    bundle = write_bundle(licensed(request, license_id), place, signer)
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
        store.attach(info.run_id).set_tags(digest_tag(bundle.digest))
        model_uri, registered = _register(store, info, bundle, register, alias)
    except RegplugError as error:
        error.message += f" The bundle {bundle.path} is complete and verified."
        raise_after_start(error, exported)
    return replace(exported, model_uri=model_uri, registered=registered)


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
