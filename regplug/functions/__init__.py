"""The commands as Python functions."""

from __future__ import annotations

from regplug.functions.bundles import export, predict, verify
from regplug.functions.comparing import compare
from regplug.functions.cross_validating import cross_validate
from regplug.functions.resuming import resume
from regplug.functions.sweeping import sweep
from regplug.functions.training import run

__all__ = ["compare", "cross_validate", "export", "predict", "resume", "run", "sweep", "verify"]
