"""Describes a bundle in ten lines. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regplug.bundles.calibration.answers import graph_outputs
from regplug.bundles.calibration.words import calibration_words
from regplug.bundles.formats import parts_of
from regplug.bundles.layout import is_named, model_files, model_kib, read_manifest, read_report, require_bundle
from regplug.bundles.reading import require_plain
from regplug.bundles.report import Report

_NAMES_SHOWN = 10
_OUTPUTS = {"classification": "classes", "multilabel": "labels", "regression": "values"}


def inspect_bundle(path: Path) -> list[str]:
    """Describes a bundle from its manifest and report; verifies nothing.

    Raises:
        BundleError: The path is not a bundle.
        VerificationError: Its manifest or report cannot be read.
    """
    path = Path(path)
    require_bundle(path)
    manifest = read_manifest(path)
    for name in model_files(manifest):
        require_plain(path, name)
    return _lines(path, manifest, read_report(path))


def _lines(path: Path, manifest: dict[str, Any], report: Report) -> list[str]:
    versions, named = manifest["versions"], is_named(manifest)
    verdict = "passed" if report.passed else f"{len(report.failures)} FAILED"
    return [
        f"bundle    {path} (schema {manifest['schema_version']})",
        f"task      {manifest['task'] or 'none'}, {_outputs(manifest)}",
        f"model     {_model(manifest)}",
        *_stochastic(manifest),
        *_calibrated(manifest),
        *(f"input     {_input(part)}" for part in parts_of(manifest, "input")),
        *(f"axis      {_axis(name, axis)}" for name, axis in manifest.get("axes", {}).items()),
        *(f"output    {_output(part)}{_inside(part, manifest)}" for part in graph_outputs(manifest)),
        f"files     {', '.join(_file(path, name, facts) for name, facts in manifest['files'].items())}",
        f"state     sha256 {manifest['state_sha256'][:16]}, {_runs(manifest)}",
        f"proven    {len(report.checks)} checks {verdict} at export{_measured(report)}",
        f"made with {', '.join(f'{name} {version}' for name, version in versions.items() if version)}",
        f"next      regplug verify {path}; regplug predict {path} INPUT{'.npz' if named else ''}",
    ]


def _input(part: Mapping[str, Any]) -> str:
    limits = "any value" if part["range"] is None else f"{part['range'][0]:g} to {part['range'][1]:g}"
    return f"{part['name']!r}: {part['dtype']} {_shape(part['shape'])}, {part['layout']}, {limits}"


def _axis(name: str, axis: Mapping[str, Any]) -> str:
    sizes = f"{axis['least']} to {axis['most']}" if axis["most"] else f"{axis['least']} or more"
    return f"{name!r}: {sizes}, checked at {', '.join(map(str, sorted(set(axis['checked']))))}"


def _output(part: Mapping[str, Any]) -> str:
    return f"{part['name']!r}: {part['dtype']} {_shape(part['shape'])}"


def _stochastic(manifest: dict[str, Any]) -> list[str]:
    """Returns the eleventh line of a stochastic bundle: which dropout is live, and which is not."""
    part = manifest.get("stochastic")
    if not part:
        return []
    layers = ", ".join(f"{layer['name']} ({layer['kind']}, p={layer['rate']:g})" for layer in part["layers"])
    others = f"; not live: {', '.join(part['not_live'])}" if part["not_live"] else ""
    return [
        f"noise     MC dropout, outputs differ each time: {layers}{others}; compared with {part['passes']} "
        "passes of torch"
    ]


def _calibrated(manifest: dict[str, Any]) -> list[str]:
    """Returns the line of a calibrated bundle."""
    part = manifest.get("calibration")
    return [f"calibrated {calibration_words(part)}"] if part else []


def _runs(manifest: dict[str, Any]) -> str:
    members = manifest.get("members")
    if members:
        return f"runs {', '.join(member['run_id'][:8] for member in members)}"
    return f"run {manifest.get('run_id') or 'untracked'}"


def _model(manifest: dict[str, Any]) -> str:
    if manifest.get("members"):
        return f"an ensemble of {len(manifest['members'])} runs"
    config = manifest.get("config") or {}
    if "model" not in config:
        return "the user's own module"
    parts = " + ".join([config["model"], *config.get("reg", [])])
    return f"{parts}, trained on {config.get('dataset')}, seed {config.get('seed')}"


def _inside(part: Mapping[str, Any], manifest: dict[str, Any]) -> str:
    """Returns what the graph contains besides the network; a calibration and an ending are behind the first output."""
    if part is not graph_outputs(manifest)[0]:
        return ""
    return f"; inside: {', '.join(name.rpartition('.')[2] for name in manifest['baked_in'])}"


def _outputs(manifest: dict[str, Any]) -> str:
    names = manifest["class_names"]
    if manifest["task"] is None:
        return f"{len(manifest['inputs'])} inputs, {len(manifest['outputs'])} outputs"
    if not names:
        return f"{parts_of(manifest, 'output')[0]['shape'][1]} {_OUTPUTS[manifest['task']]}"
    more = f", and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{len(names)} {_OUTPUTS[manifest['task']]}: {', '.join(names[:_NAMES_SHOWN])}{more}"


def _shape(shape: list[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"


def _file(path: Path, name: str, facts: dict[str, Any]) -> str:
    opset = f", opset {facts['opset']}" if "opset" in facts else ""
    return f"{name} ({facts['format']}{opset}, {model_kib(path, name, facts)})"


def _measured(report: Report) -> str:
    names = ("test_accuracy", "test_mse")
    told = [check for check in report.checks if check.figure is not None]
    measured = [check for check in told if check.name.rpartition(".")[2] in names]
    if not measured:
        return ""
    name = measured[0].name.rpartition(".")[2].replace("_", " ")
    quietly = " without its noise" if "noise_off" in measured[0].name else ""
    return f", {name} of the file{quietly} {measured[0].figure:.4g}"
