"""A bundle as one self-contained HTML page, from its manifest and report; verifies nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regplug.bundles.calibration.answers import graph_outputs
from regplug.bundles.calibration.words import calibration_words
from regplug.bundles.card import output_words, title_of, unit_of
from regplug.bundles.formats import parts_of
from regplug.bundles.layout import (
    bundle_digest,
    is_named,
    model_files,
    model_kib,
    read_checksums,
    read_manifest,
    read_report,
    require_bundle,
)
from regplug.bundles.named.card import named_what
from regplug.bundles.reading import require_plain

_TEMPLATE = "inspect.html"


def bundle_page(path: Path) -> str:
    """Returns the page. All inserted text is escaped, and its security policy forbids scripts and network access.

    Args:
        path: The bundle's folder.

    Raises:
        BundleError: The path is not a bundle.
        VerificationError: Its manifest or report cannot be read.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    require_bundle(path)
    manifest, report, sums = read_manifest(path), read_report(path), read_checksums(path)
    for name in model_files(manifest):
        require_plain(path, name)
    loader = PackageLoader("regplug.bundles", "")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    names = manifest.get("column_names") or ()
    return page.get_template(_TEMPLATE).render(
        title=title_of(manifest),
        summary=(named_what if is_named(manifest) else output_words)(manifest).replace("`", ""),
        metrics=manifest.get("metrics") or (),
        facts=list(_facts(path, manifest)),
        columns=[(name, unit_of(name)) for name in names],
        files=[
            {
                "name": name,
                "format": facts["format"],
                "size": model_kib(path, name, facts),
                "digest": sums.get(name, ""),
            }
            for name, facts in manifest["files"].items()
        ],
        checks=report.checks,
        failed=len(report.failures),
    )


def _facts(path: Path, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    config = manifest.get("config") or {}
    yield "Task", manifest["task"] or "none"
    for given in parts_of(manifest, "input"):
        yield "Input", f"{given['name']}: {given['dtype']} ({', '.join(map(str, given['shape']))}), {given['layout']}"
        if given["range"] is not None:
            yield "Range of the input", f"{given['range'][0]:g} to {given['range'][1]:g}"
    for name, axis in manifest.get("axes", {}).items():
        yield f"Sizes of {name}", f"{axis['least']} to {axis['most']}" if axis["most"] else f"{axis['least']} or more"
    for output in graph_outputs(manifest):
        yield "Output", f"{output['name']}: {output['dtype']} ({', '.join(map(str, output['shape']))})"
    if manifest["class_names"]:
        yield "Names", ", ".join(manifest["class_names"])
    yield "In the graph", ", ".join(manifest["baked_in"])
    if manifest.get("calibration"):
        words = calibration_words(manifest["calibration"])
        yield "Calibration", f"{words[0].upper()}{words[1:]}".replace("`", "")
    if "model" in config:
        yield "Model", config["model"]
        yield "Regularizers", ", ".join(config.get("reg", [])) or "none"
    if manifest.get("dataset"):
        yield "Data", f"{manifest['dataset'].get('name')}, SHA-256 {manifest['dataset'].get('digest')}"
    yield "Licence", manifest.get("license") or "unknown"
    runs = [member["run_id"] for member in manifest.get("members") or ()] or [manifest.get("run_id")]
    yield "Run", ", ".join(run for run in runs if run) or "untracked"
    yield "Live dropout", "yes: repeated outputs differ" if manifest["stochastic"] else "no"
    yield "Made with", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items() if version)
    yield "SHA-256 of the weights", manifest["state_sha256"]
    yield "SHA-256 of SHA256SUMS", bundle_digest(path)
