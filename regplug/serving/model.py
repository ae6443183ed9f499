"""The model that is served: a bundle that another process has verified."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regplug.bundles.formats import Array, Run
from regplug.bundles.inputs import InputForm
from regplug.bundles.layout import bundle_digest, require_bundle
from regplug.bundles.opening import onnx_file, open_bundle
from regplug.bundles.predict import check_passes, mean_and_spread, predictions, probabilities_or_values
from regplug.errors import RequestError, VerificationError

_CHANGED = "The bundle was changed while it was verified."


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """An opened bundle.

    Args:
        manifest: Its manifest.
        digest: The SHA-256 of its `SHA256SUMS`.
        form: What an input looks like.
        run: Maps raw rows to probabilities or values.
        passes: Number of random passes over which a stochastic bundle averages; 0 for any other.
        is_batched: Whether rows of several requests may share a batch.
    """

    manifest: dict[str, Any]
    digest: str
    form: InputForm
    run: Run
    passes: int
    is_batched: bool

    def compute(self, rows: Array) -> tuple[Array, Array]:
        """Returns outputs `(B, K)` and their spread over the passes, zeros without passes."""
        return mean_and_spread(self.run, rows, self.passes)

    def answer(self, sources: Sequence[str], outputs: Array, spreads: Array, top: int) -> list[dict[str, Any]]:
        """Returns the prediction of each row as JSON; `source` only where a row has one."""
        spread, places = spreads if self.passes else None, [(source, at) for at, source in enumerate(sources)]
        answers = [one.as_json() for one in predictions(places, outputs, spread, self.manifest, top)]
        for answer in answers:
            if not answer["source"]:
                del answer["source"]
        return answers


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
    manifest, run = open_bundle(bundle)
    count = check_passes(bundle, manifest, passes)
    _verify(bundle, origin)
    if bundle_digest(bundle) != digest:
        raise VerificationError(f"{bundle} is not served: {_CHANGED}", hint="Start the server again.")
    return ServedModel(
        manifest=manifest,
        digest=digest,
        form=InputForm.from_manifest(manifest),
        run=probabilities_or_values(run, manifest),
        passes=count,
        # With fewer bits, one scale may be shared by a whole batch: requests would change each other's answers.
        is_batched="may_lose" not in manifest["files"][onnx_file(manifest)],
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
