"""Opens a bundle to serve it, after another process has verified it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from regplug.bundles.inputs import InputForm
from regplug.bundles.layout import bundle_digest, is_named, require_bundle
from regplug.bundles.named.predict import decided
from regplug.bundles.named.signature import Signature
from regplug.bundles.opening import OpenFile, open_file
from regplug.bundles.passes import probabilities_or_values
from regplug.bundles.predict import check_passes
from regplug.errors import RequestError, VerificationError
from regplug.serving.model import ServedModel
from regplug.serving.named import NamedModel
from regplug.serving.single import SingleModel

_CHANGED = "The bundle was changed while it was verified."


def load_verified(bundle: Path, *, passes: int | None = None, origin: Sequence[str] = ()) -> ServedModel:
    """Verifies a bundle in a process of its own, which may import torch, and opens it here.

    Args:
        bundle: The bundle's folder.
        passes: As for `regplug predict`.
        origin: Options of `regplug verify`, such as `--key PUBLIC`.

    Raises:
        BundleError: The path is not a bundle, or has no ONNX file.
        RequestError: `passes` or `origin` are wrong.
        VerificationError: A check failed; the bundle is not served.
    """
    require_bundle(bundle)
    digest = bundle_digest(bundle)
    opened = open_file(bundle)
    count = check_passes(bundle, opened.manifest, passes)
    _verify(bundle, origin)
    if bundle_digest(bundle) != digest:
        raise VerificationError(f"{bundle} is not served: {_CHANGED}", hint="Start the server again.")
    return _served(opened, digest, count)


def _served(opened: OpenFile, digest: str, passes: int) -> ServedModel:
    manifest = opened.manifest
    if is_named(manifest):
        return NamedModel(
            manifest=manifest,
            digest=digest,
            passes=passes,
            # Requests may differ in the sizes of their axes.
            is_batched=False,
            signature=Signature.from_manifest(manifest),
            named_run=decided(opened.named_run(), manifest),
        )
    run = opened.run()
    return SingleModel(
        manifest=manifest,
        digest=digest,
        passes=passes,
        # With fewer bits, one scale may be shared by a whole batch: requests would change each other's answers.
        is_batched="may_lose" not in manifest["files"][opened.path.name],
        form=InputForm.from_manifest(manifest),
        run=lambda rows: probabilities_or_values(run(rows), manifest),
    )


def _verify(bundle: Path, origin: Sequence[str]) -> None:
    command = [sys.executable, "-m", "regplug", "verify", str(bundle.absolute()), "--json", *origin]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    try:
        document = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.strip().splitlines() or ["no output"]
        document = {"error": {"message": f"regplug verify ended with exit code {done.returncode}: {lines[-1]}"}}
    error = document.get("error")
    if error:
        kind = RequestError if done.returncode == RequestError.exit_code else VerificationError
        raise kind(f"{bundle} is not served: {error['message']}", hint=error.get("hint", ""))
