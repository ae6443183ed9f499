"""The configuration of a run: its fields and defaults, where they are read from, and its complete form."""

from __future__ import annotations

from regplug.config.fold import Fold
from regplug.config.loading import UPDATE_FIELDS, Suggest, config_from, load_config, read_file
from regplug.config.run_config import KIND_BY_FIELD, NO_COMPONENT, REPEATED_FIELDS, SHORTHANDS, RunConfig

__all__ = [
    "KIND_BY_FIELD",
    "NO_COMPONENT",
    "REPEATED_FIELDS",
    "SHORTHANDS",
    "UPDATE_FIELDS",
    "Fold",
    "RunConfig",
    "Suggest",
    "config_from",
    "load_config",
    "read_file",
]
