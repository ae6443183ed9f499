"""Tracks runs, studies, files and models in MLflow. Only this package imports mlflow, and only to open a store.

>>> import sys, regplug.tracking
>>> "mlflow" in sys.modules
False
"""

from __future__ import annotations

from regplug.tracking.children import ChildRun
from regplug.tracking.copying import Copied
from regplug.tracking.datasets import UsedDataset
from regplug.tracking.location import Location, resolve_location
from regplug.tracking.opening import require_reachable
from regplug.tracking.reading import MetricPoint, RunInfo
from regplug.tracking.run import TrackedRun
from regplug.tracking.store import Store, open_store
from regplug.tracking.syncing import Synced, has_undelivered
from regplug.tracking.ui import address_of, compare_url, run_url, runs_url, ui_command, ui_environment

__all__ = [
    "ChildRun",
    "Copied",
    "Location",
    "MetricPoint",
    "RunInfo",
    "Store",
    "Synced",
    "TrackedRun",
    "UsedDataset",
    "address_of",
    "compare_url",
    "has_undelivered",
    "open_store",
    "require_reachable",
    "resolve_location",
    "run_url",
    "runs_url",
    "ui_command",
    "ui_environment",
]
