"""Exports the models of several tracked runs as one model."""

from __future__ import annotations

import hashlib
import reprlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.publish import OVERWRITE, require_free
from regplug.bundles.request import BundleRequest, licensed
from regplug.bundles.signing import load_signer
from regplug.bundles.writing import write_bundle
from regplug.data import Prepared
from regplug.errors import RequestError
from regplug.exporting.kept import Kept
from regplug.exporting.records import Exported
from regplug.registry import Registry, default_registry
from regplug.runs.request import check_exported_runs
from regplug.tracking import RunInfo, Store, open_store
from regplug.training.ensemble import Ensemble
from regplug.training.state_hash import state_sha256


def export_ensemble(
    runs: Sequence[str],
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
    """Exports and verifies the models of several tracked runs as one model.

    Class probabilities are averaged, `log(1/M * sum_m softmax(logits_m))` of M runs; values of a regression are
    averaged in the user's units. Every run counts the same, also one that ended with several networks. The runs in
    the store are not changed.

    Args:
        runs: At least two runs, each by its id, the beginning of its id, or its name.
        formats: Formats as components; by default those of the first run.
        out: The bundle's folder; by default `bundles/ensemble-` and a hash of the run ids, followed by `-stochastic`
            for a stochastic bundle.
        probabilities: Whether the graph ends in a softmax (for labels, a sigmoid).
        stochastic: Whether dropout stays live in inference (MC dropout).
        calibrate: Must be `None` or `none`: the validation rows of one run may be training rows of another.
        conformal: Must be `None` or 0, as `calibrate`.
        register: Must be empty: a registered model belongs to one run.
        alias: Must be empty, as `register`.
        license_id: The model's licence, such as `apache-2.0`; empty if unknown.
        sign: The secret key (minisign) with which the bundle is signed.
        overwrite: Whether to replace a bundle of other runs or of a module at `out`; that of the same runs always is.
        registry: The available components; by default all that are installed.
        tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the current folder.

    Raises:
        RequestError: A run does not exist, is named twice or stored no trained state, or the runs do not fit together.
        DataError: A dataset has changed since the training.
        ExportError: The model cannot be exported; no bundle is written.
        VerificationError: A state is not the one that was tracked, or a file differs from the model.

    Source: Lakshminarayanan et al. 2017, Simple and Scalable Predictive Uncertainty Estimation.
    """
    is_calibrated = calibrate not in (None, "none") or bool(conformal)
    check_exported_runs(runs, is_ensemble=True, register=register or alias, is_calibrated=is_calibrated)
    registry, store = registry or default_registry(), open_store(tracking_uri, is_read=True)
    infos = _find(store, runs)
    owner = "+".join(sorted(info.run_id for info in infos))
    name = f"ensemble-{hashlib.sha256(owner.encode()).hexdigest()[:8]}"
    place = Path(out or f"bundles/{name}{'-stochastic' if stochastic else ''}")
    require_free(place, owner, overwrite=overwrite, hint=OVERWRITE)
    signer = None if sign is None else load_signer(sign)
    kept = [Kept(store, info, registry, formats) for info in infos]
    began = time.perf_counter()
    datas = _load(kept)
    requests = [
        each.request(data, probabilities=probabilities, stochastic=stochastic)
        for each, data in zip(kept, datas, strict=True)
    ]
    request = _as_one(requests, infos)
    seconds = {"rebuild": time.perf_counter() - began}
    bundle = write_bundle(licensed(request, license_id), place, signer)
    return Exported.of(
        bundle,
        seconds={**seconds, **bundle.seconds},
        members={info.run_id: info.name for info in infos},
        tracking_uri=store.location.shown,
    )


def _find(store: Store, runs: Sequence[str]) -> list[RunInfo]:
    found: dict[str, tuple[str, RunInfo]] = {}
    for text in runs:
        info = store.find_run(text)
        if info.run_id in found:
            raise RequestError(
                f"{found[info.run_id][0]!r} and {text!r} are the same run, {_shown(info)}.",
                hint="Name each run of an ensemble once; `regplug runs` lists them.",
            )
        found[info.run_id] = (text, info)
    return [info for _, info in found.values()]


def _load(kept: Sequence[Kept]) -> list[Prepared]:
    """Returns the data of each run after checking that one graph can serve all."""
    datas: list[Prepared] = []
    for each in kept:
        data = each.load_data()
        if datas:
            require_alike(_shown(kept[0].info), datas[0], _shown(each.info), data)
        datas.append(data)
    return datas


def require_alike(run: str, data: Prepared, other_run: str, other_data: Prepared) -> None:
    """Checks that one graph can serve two runs: same task, same inputs, same normalisation.

    Args:
        run: A run, for messages.
        data: Its data.
        other_run: Another run.
        other_data: Its data.

    Raises:
        RequestError: They differ.
    """
    others = _facts(other_data)
    for what, fact in _facts(data).items():
        if fact != others[what]:
            raise RequestError(
                f"Runs {run} and {other_run} cannot be one model, because they differ in {what}: "
                f"{reprlib.repr(fact)} and {reprlib.repr(others[what])}.",
                hint="The runs of an ensemble need the same task, the same inputs and the same normalisation, "
                "such as runs of one dataset and one --data-seed.",
            )


def _facts(data: Prepared) -> dict[str, Any]:
    """Returns everything outside its network that a member shares with the others, by its name in messages."""
    task, inputs, normalize = data.task, data.inputs, data.preprocess
    return {
        "the task": task.kind,
        "the number of outputs": task.num_outputs,
        "the classes": task.class_names,
        "the layout of the input": inputs.layout,
        "the shape of the input": inputs.shape,
        "the type of the input": inputs.dtype,
        "the range of the input": (inputs.low, inputs.high),
        "the columns of the input": inputs.names,
        "the preparation of the table": None if data.preparation is None else data.preparation.as_json(),
        "the precision of the training": str(normalize.shift.dtype),
        "the shift of the normalisation": normalize.shift.tolist(),
        "the scale of the normalisation": normalize.scale.tolist(),
    }


def _as_one(requests: Sequence[BundleRequest], infos: Sequence[RunInfo]) -> BundleRequest:
    first = requests[0]
    kind = first.task.kind
    live = [each.live for each in requests if each.live is not None]
    return replace(
        first,
        module=Ensemble([each.module for each in requests], kind).eval(),
        live=Ensemble(live, kind).eval() if live else None,
        calibration=None,
        rebuild=lambda: Ensemble([each.rebuild() for each in requests if each.rebuild], kind),
        # The test rows of one run may be training rows of another.
        test=first.test if all(_same_rows(first, each) for each in requests) else None,
        manifest=_manifest(requests, infos),
    )


def _same_rows(one: BundleRequest, other: BundleRequest) -> bool:
    return all(np.array_equal(*parts) for parts in zip(one.test or (), other.test or (), strict=True))


def _manifest(requests: Sequence[BundleRequest], infos: Sequence[RunInfo]) -> dict[str, Any]:
    documents = [dict(each.manifest) for each in requests]
    plugins: list[Any] = []
    for document in documents:
        plugins += [part for part in document["plugins"] if part not in plugins]
    members = [
        {
            "run_id": info.run_id,
            "run_name": info.name,
            "state_sha256": state_sha256(each.module),
            "config": document["config"],
            "dataset": document["dataset"],
        }
        for each, document, info in zip(requests, documents, infos, strict=True)
    ]
    shared = {key: documents[0][key] for key in ("column_names", "preparation")}
    return {**shared, "run_id": None, "plugins": plugins, "members": members}


def _shown(info: RunInfo) -> str:
    return f"{info.name} ({info.run_id[:8]})"
