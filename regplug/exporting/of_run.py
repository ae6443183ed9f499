"""Exports a finished run as a verified bundle."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from regplug.bundles.calibration.request import calibration_of
from regplug.bundles.request import Bundle, BundleRequest
from regplug.bundles.untrained import UntrainedGraph
from regplug.bundles.writing import write_bundle
from regplug.config import RunConfig
from regplug.data import Array, Prepared, Split
from regplug.data.lazy import LazyRows
from regplug.data.units import in_units
from regplug.errors import ExportError
from regplug.registry.components import Chosen, Components
from regplug.regularization.settling import settle
from regplug.runs.assembly import Assembly
from regplug.runs.network import build_network
from regplug.training.ensemble import as_one, count_members

SAMPLE_ROWS = 256

STREAMED_TEST_BYTES = 256 << 20
"""Size of the test rows on which files are checked, where the inputs do not fit into memory."""


def export_run(
    made: Assembly, model: nn.Module, *, run_id: str, out: Path, untrained: UntrainedGraph | None = None
) -> Bundle:
    """Exports and verifies a run's trained model.

    Args:
        made: The assembled run.
        model: The trained model, in evaluation mode on the CPU.
        run_id: MLflow's run id.
        out: The bundle's folder.
        untrained: What `require_exportable` returned.

    Raises:
        ExportError: The model cannot be exported; no bundle is written.
        VerificationError: A file differs from the model; no bundle is written.
    """
    request = request_of_run(made.config, made.components, made.data, model, run_id=run_id)
    return write_bundle(request, out, untrained=untrained)


def request_of_run(
    config: RunConfig,
    components: Components,
    data: Prepared,
    model: nn.Module,
    *,
    run_id: str,
    probabilities: bool = False,
    stochastic: bool = False,
) -> BundleRequest:
    """Returns the request for a run's bundle.

    Args:
        config: The run's configuration.
        components: Its components, including the formats to write.
        data: The data on which the model was trained and tested.
        model: The trained model, in evaluation mode on the CPU.
        run_id: MLflow's run id.
        probabilities: Whether the graph ends in a softmax (for labels, a sigmoid).
        stochastic: Whether dropout stays live in inference.
    """
    inputs, test, samples = data.inputs, _file_rows(data.file_test), data.file_test.x[:SAMPLE_ROWS]
    has_range = inputs.low is not None and inputs.high is not None
    return BundleRequest(
        module=model,
        preprocess=data.preprocess,
        samples=samples,
        layout=inputs.layout,
        task=data.task,
        formats=[named_format(chosen) for chosen in components.formats],
        value_range=(inputs.low, inputs.high) if has_range else None,  # type: ignore[arg-type] # neither is None
        test=test,
        probabilities=probabilities,
        stochastic=stochastic,
        calibration=calibration_of(
            config.calibrate, config.conformal, None if data.file_valid is None else _file_rows(data.file_valid)
        ),
        live=live_network(config, components, data, model) if stochastic else None,
        rebuild=lambda: rebuilt_network(config, components, data, count_members(list(model.state_dict()))),
        manifest=_manifest(config, components, data, run_id),
    )


def _file_rows(split: Split) -> tuple[Array, Array]:
    """The rows on which files are calibrated or checked; of those that exceed memory, an evenly spaced part."""
    if not isinstance(split.x, LazyRows):
        return split.x, split.y
    number = max(1, STREAMED_TEST_BYTES // max(1, math.prod(split.x.shape[1:]) * split.x.dtype.itemsize))
    chosen = np.unique(np.linspace(0, len(split) - 1, min(len(split), number)).astype(np.intp))
    part = split.take(chosen)
    return np.asarray(part.x), part.y


def rebuilt_network(config: RunConfig, components: Components, data: Prepared, members: int = 1) -> nn.Module:
    """Returns the untrained network as deployed, with the structure from its regularizers.

    Args:
        config: The run's configuration.
        components: Its components.
        data: The data on which the model was trained.
        members: Number of networks in the ensemble.
    """

    def make() -> nn.Module:
        built = build_network(config, components, data)
        return settle(built.model, built.final_settings)

    return in_units(as_one(make, members, data.task.kind), data.units)


def live_network(config: RunConfig, components: Components, data: Prepared, trained: nn.Module) -> nn.Module:
    """Returns the trained network with torch's dropout modules instead of its regularizers' dropout layers.

    Args:
        config: The run's configuration.
        components: Its components.
        data: The data on which the model was trained.
        trained: The network as deployed.

    Raises:
        ExportError: A dropout module has its own tensors, so that the trained state does not fit.
    """
    params = {chosen.spec.key: chosen.params for chosen in components.regs}

    def make() -> nn.Module:
        built = build_network(config, components, data)
        return settle(built.model, built.final_settings, lambda layer: layer.in_inference(params.get(layer.owner)))

    members = count_members(list(trained.state_dict()))
    live = in_units(as_one(make, members, data.task.kind), data.units)
    # Only names differ: a module followed by dropout is one level deeper.
    names, values = list(live.state_dict()), list(trained.state_dict().values())
    if len(names) != len(values):
        raise ExportError(
            "The trained state does not fit the model with live dropout.",
            hint="The module that a layer's in_inference() returns must have no tensors; or leave --stochastic out.",
        )
    live.load_state_dict(dict(zip(names, values, strict=True)))
    return live.cpu().eval()


def named_format(chosen: Chosen) -> tuple[str, str, Any]:
    """Returns name, file name and object of a format for a bundle's request."""
    registered = chosen.registered
    filename = registered.component.filename  # type: ignore[attr-defined] # found as a format
    return registered.name, filename, chosen.build()


def _manifest(config: RunConfig, components: Components, data: Prepared, run_id: str) -> dict[str, Any]:
    registered = [chosen.registered for chosen in components.all()]
    return {
        "run_id": run_id,
        "config": config.to_dict(),
        "plugins": [
            {"kind": r.kind, "name": r.name, "distribution": r.distribution, "version": r.version} for r in registered
        ],
        "column_names": list(data.inputs.names),
        "dataset": {"name": data.raw.name, "digest": data.digest},
        "preparation": None if data.preparation is None else data.preparation.as_json(),
    }
