"""Opens the file of a bundle that predicts: the ONNX file with onnxruntime, or another one with its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from regplug.bundles.causes import cause
from regplug.bundles.formats import Array, NamedRun, Run
from regplug.bundles.layout import (
    MANIFEST,
    MODEL_ONNX,
    is_named,
    onnx_file,
    read_manifest,
    require_bundle,
    require_small_enough,
    require_unchanged,
)
from regplug.bundles.named.predict import checked_named_run
from regplug.bundles.named.signature import Signature
from regplug.errors import BundleError, RegplugError, VerificationError

_WARNINGS_AND_ABOVE = 3
_PROVE = "Run `regplug verify` to see what is wrong with the bundle, or export the run again."


@dataclass(frozen=True, kw_only=True)
class OpenFile:
    """An open model file.

    Args:
        manifest: The bundle's manifest.
        path: The file.
        raw: Runs it without checks: a `Run`, or a `NamedRun` for a bundle with several inputs or outputs.
    """

    manifest: dict[str, Any]
    path: Path
    raw: Any

    def run(self) -> Run:
        """Returns a function from raw rows to outputs that checks both against the manifest."""
        width = self.manifest["num_outputs"]

        def run(rows: Array) -> Array:
            try:
                outputs: Array = self.raw(rows)
            except Exception as error:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                raise VerificationError(
                    f"{self.path} cannot run on inputs as in its manifest: {reason}", hint=_PROVE
                ) from None
            if not isinstance(outputs, np.ndarray) or outputs.dtype.kind != "f" or outputs.shape != (len(rows), width):
                found = (
                    f"{outputs.dtype} {outputs.shape}" if isinstance(outputs, np.ndarray) else type(outputs).__name__
                )
                raise VerificationError(
                    f"{self.path} gives {found}; its manifest says {(len(rows), width)}.", hint=_PROVE
                )
            return outputs

        return run

    def named_run(self) -> NamedRun:
        """The same for inputs and outputs by name."""
        return checked_named_run(self.raw, self.path, Signature.from_manifest(self.manifest), _PROVE)


def open_file(bundle: Path, file_format: str | None = None) -> OpenFile:
    """Opens a bundle's model file.

    Args:
        bundle: The bundle's folder. Its manifest and model must be the verified files.
        file_format: The format of the file; by default the ONNX file is opened.

    Raises:
        BundleError: The folder is not a bundle, or has no such file.
        VerificationError: The manifest or the model is not the verified file, or cannot be opened.
    """
    require_bundle(bundle)
    require_unchanged(bundle, [MANIFEST])
    manifest = read_manifest(bundle)
    name = _file_of(bundle, manifest, file_format)
    require_small_enough(bundle, name)
    weights = manifest["files"][name].get("weights")
    require_unchanged(bundle, [name, *([weights] if weights else [])])
    is_onnx = name.endswith(".onnx")
    raw = _onnx_run(bundle / name, manifest) if is_onnx else _format_run(bundle / name, manifest)
    return OpenFile(manifest=manifest, path=bundle / name, raw=raw)


def _file_of(bundle: Path, manifest: Mapping[str, Any], file_format: str | None) -> str:
    names: dict[str, str] = {facts["format"]: name for name, facts in manifest["files"].items()}
    if file_format is None:
        name = onnx_file(manifest)
        if not name:
            raise BundleError(
                f"{bundle} has no {MODEL_ONNX}.",
                hint=f"Export the run with `--format onnx`, or predict with `--format {next(iter(names))}`.",
            )
        return name
    name = names.get(file_format.replace("-", "_"), "")
    if not name:
        raise BundleError(
            f"{bundle} has no file of the format {file_format!r}.",
            hint=f"It has: {', '.join(names)}. Or export the run with `--format {file_format}`.",
        )
    return name


def _onnx_run(file: Path, manifest: Mapping[str, Any]) -> Run | NamedRun:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _WARNINGS_AND_ABOVE
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise VerificationError(
            f"onnxruntime {onnxruntime.__version__} cannot open {file}: {error}",
            hint="Update onnxruntime, or export the run again with a lower opset.",
        ) from error
    if not is_named(manifest):
        given = manifest["input"]["name"]
        return lambda rows: session.run(None, {given: rows})[0]
    names = [part["name"] for part in manifest["outputs"]]
    return lambda arrays: dict(zip(names, session.run(names, dict(arrays)), strict=True))


def _format_run(file: Path, manifest: Mapping[str, Any]) -> Run | NamedRun:
    # They may import torch, which onnxruntime does not need.
    from regplug.bundles.installed import installed_format
    from regplug.bundles.splitting import open_named_split, open_split

    form = installed_format(manifest["files"][file.name]["format"])
    try:
        if is_named(manifest):
            return open_named_split(form, file, manifest, optimised=True)
        return open_split(form, file, optimised=True)
    except RegplugError:
        raise
    except Exception as error:
        raise VerificationError(f"{file} cannot be opened: {cause(error)}", hint=_PROVE) from error
