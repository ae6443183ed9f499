"""The configuration of a run: its fields and defaults, where they are read from, and its complete form."""

from __future__ import annotations

from regplug.config.loading import load_config
from regplug.config.resolving import resolve_config
from regplug.config.run_config import KIND_BY_FIELD, REPEATED_FIELDS, RunConfig
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
    "REPEATED_FIELDS",
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "Linear",
    "OneCycle",
    "RunConfig",
    "StepDown",
    "load_config",
    "parse_schedule",
    "resolve_config",
]
