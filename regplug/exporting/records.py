"""The results of an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regplug.bundles.report import Report
from regplug.bundles.request import Bundle


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version of a registered model.

    Args:
        name: The registered model.
        version: Its version, starting with `"1"`.
        alias: The alias that now points to it; empty for none.
        uri: Address for MLflow: `models:/NAME/VERSION`.
    """

    name: str
    version: str
    alias: str
    uri: str


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A verified bundle and its origin.

    Args:
        path: The bundle's folder.
        files: The names of all files in it.
        verification: The checks; all have passed.
        digest: The SHA-256 of the bundle's `SHA256SUMS`.
        seconds: Wall-clock time of each stage.
        run_id: The tracked run, or empty for an ensemble and for the caller's own module.
        run_name: That run's name.
        members: The runs of an ensemble: run id to name; empty otherwise.
        tracking_uri: The store of the run or the runs.
        model_uri: Address of the ONNX file as MLflow model, if it was logged.
        registered: The registered version, if requested.
        notes: What was trained again, and what it was compared with.
    """

    path: Path
    files: tuple[str, ...]
    verification: Report
    digest: str
    seconds: Mapping[str, float]
    run_id: str = ""
    run_name: str = ""
    members: Mapping[str, str] = field(default_factory=dict)
    tracking_uri: str = ""
    model_uri: str = ""
    registered: Registered | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, bundle: Bundle, **more: Any) -> Exported:
        """Creates it from a bundle and further fields."""
        return cls(
            path=bundle.path,
            files=bundle.files,
            verification=bundle.verification,
            digest=bundle.digest,
            **{"seconds": bundle.seconds, **more},
        )

    def document(self) -> dict[str, Any]:
        """Returns the document of `regplug export --json`."""
        registered = self.registered and {
            "name": self.registered.name,
            "version": self.registered.version,
            "alias": self.registered.alias,
            "uri": self.registered.uri,
        }
        return {
            "run_id": self.run_id,
            "run_name": self.run_name,
            "members": [{"run_id": run_id, "run_name": name} for run_id, name in self.members.items()],
            "tracking_uri": self.tracking_uri,
            "bundle": {"path": str(self.path), "files": list(self.files), "digest": self.digest},
            "verification": self.verification.as_json(),
            "model_uri": self.model_uri,
            "registered": registered,
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }
