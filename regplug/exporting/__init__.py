"""Exports a verified bundle: at the end of a run, of one or several tracked runs, or of a user's own module."""

from __future__ import annotations

from regplug.exporting.anchoring import find_origin
from regplug.exporting.beforehand import require_exportable
from regplug.exporting.deployment import DEPLOYED_FILE, deployment_requirements, deployment_samples
from regplug.exporting.of_ensemble import export_ensemble
from regplug.exporting.of_module import export_module
from regplug.exporting.of_named import export_named, is_named_request
from regplug.exporting.of_run import export_run
from regplug.exporting.of_tracked import export_tracked
from regplug.exporting.records import Exported, Registered

__all__ = [
    "DEPLOYED_FILE",
    "Exported",
    "Registered",
    "deployment_requirements",
    "deployment_samples",
    "export_ensemble",
    "export_module",
    "export_named",
    "export_run",
    "export_tracked",
    "find_origin",
    "is_named_request",
    "require_exportable",
]
