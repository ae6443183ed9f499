"""From a finished run to its proven bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from regplug.bundles.request import Bundle, BundleRequest
from regplug.bundles.writing import write_bundle
from regplug.config import RunConfig
from regplug.data import Prepared
from regplug.errors import ExportError
from regplug.registry.components import Chosen, Components
from regplug.regularization.settling import settle
from regplug.runs.assembly import Assembly, build_network
from regplug.training.ensemble import as_one, count_members

SAMPLE_ROWS = 256


def export_run(made: Assembly, model: nn.Module, *, run_id: str, out: Path) -> Bundle:
    """Exports and proves a run's trained model.

    Args:
        made: What the run was made of.
        model: The trained model, in evaluation mode on the CPU.
        run_id: MLflow's.
        out: The folder that appears.

    Raises:
        ExportError: The model cannot be exported; nothing appears.
        VerificationError: A file does not do what the model does; nothing appears.
    """
    return write_bundle(request_of_run(made.config, made.components, made.data, model, run_id=run_id), out)


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
    """What a bundle of a run is made from.

    Args:
        config: What was asked for.
        components: What it means; its formats are those that are written.
        data: What the model was trained and tested on.
        model: The trained model, in evaluation mode on the CPU.
        run_id: MLflow's.
        probabilities: Whether the graph ends in a softmax.
        stochastic: Whether the dropout stays live in inference.
    """
    raw, inputs = data.raw, data.inputs
    has_range = inputs.low is not None and inputs.high is not None
    return BundleRequest(
        module=model,
        preprocess=data.preprocess,
        samples=raw.test.x[:SAMPLE_ROWS],
        layout=inputs.layout,
        task=data.task,
        formats=[named_format(chosen) for chosen in components.formats],
        value_range=(inputs.low, inputs.high) if has_range else None,  # type: ignore[arg-type] # both are there
        test=(raw.test.x, raw.test.y),
        probabilities=probabilities,
        stochastic=stochastic,
        live=live_network(config, components, data, model) if stochastic else None,
        rebuild=lambda: rebuilt_network(config, components, data, count_members(list(model.state_dict()))),
        manifest=_manifest(config, components, data, run_id),
    )


def rebuilt_network(config: RunConfig, components: Components, data: Prepared, members: int = 1) -> nn.Module:
    """The network as it is deployed, with the structure that its regularizers gave it, untrained.

    Args:
        config: What was asked for.
        components: What it means.
        data: What the model was trained on.
        members: How many networks it is an ensemble of.
    """

    def make() -> nn.Module:
        built = build_network(config, components, data)
        return settle(built.model, built.final_settings)

    return as_one(make, members, is_classification=data.task.is_classification)


def live_network(config: RunConfig, components: Components, data: Prepared, trained: nn.Module) -> nn.Module:
    """The trained network with modules of torch in the place of the dropout that its regularizers put in for training.

    Args:
        config: What was asked for.
        components: What it means.
        data: What the model was trained on.
        trained: The network as it is deployed.

    Raises:
        ExportError: A layer brings tensors of its own, so that what was trained cannot be put in.
    """
    params = {chosen.spec.key: chosen.params for chosen in components.regs}

    def make() -> nn.Module:
        built = build_network(config, components, data)
        return settle(built.model, built.final_settings, lambda layer: layer.in_inference(params.get(layer.owner)))

    members = count_members(list(trained.state_dict()))
    live = as_one(make, members, is_classification=data.task.is_classification)
    # Only names differ: a module with dropout behind it lies one deeper.
    names, values = list(live.state_dict()), list(trained.state_dict().values())
    if len(names) != len(values):
        raise ExportError(
            "The trained state does not fit the model with its dropout live.",
            hint="What a layer's in_inference() returns must hold no tensors; or leave --stochastic out.",
        )
    live.load_state_dict(dict(zip(names, values, strict=True)))
    return live.cpu().eval()


def named_format(chosen: Chosen) -> tuple[str, str, Any]:
    """Name, file name and object of a format, as a bundle's request takes them."""
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
    }
