"""The configuration of a run: its fields and defaults, where they are read from, and its complete form."""

from __future__ import annotations

from regplug.config.loading import config_from, load_config, read_file
from regplug.config.run_config import KIND_BY_FIELD, NO_COMPONENT, REPEATED_FIELDS, RunConfig
from regplug.config.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    Linear,
    OneCycle,
    StepDown,
    parse_schedule,
)

__all__ = [
    "KIND_BY_FIELD",
    "NO_COMPONENT",
    "REPEATED_FIELDS",
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "Linear",
    "OneCycle",
    "RunConfig",
    "StepDown",
    "config_from",
    "load_config",
    "parse_schedule",
    "read_file",
]
