"""Learning-rate schedules by name, and their parameters. What they do stands in `regplug.training`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from regplug.config.params import check_fields
from regplug.config.spec import ComponentSpec
from regplug.errors import RequestError, did_you_mean


@dataclass(frozen=True)
class Constant:
    """The rate stays."""


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from the rate to `final` times it. Source: Loshchilov and Hutter 2017."""

    final: Annotated[float, Ge(0), Le(1)] = 0.0
    "Factor at the end."


@dataclass(frozen=True)
class Linear:
    """A straight line from the rate to `final` times it."""

    final: Annotated[float, Ge(0), Le(1)] = 0.0
    "Factor at the end."


@dataclass(frozen=True)
class StepDown:
    """The rate times `factor` every `every` epochs."""

    every: Annotated[int, Gt(0)] = 10
    "Epochs between two cuts."
    factor: Annotated[float, Gt(0), Le(1)] = 0.1
    "What the rate is multiplied with."


@dataclass(frozen=True)
class Exponential:
    """The rate times `factor` every epoch."""

    factor: Annotated[float, Gt(0), Le(1)] = 0.95
    "What the rate is multiplied with."


@dataclass(frozen=True)
class OneCycle:
    """Up to the rate and down to nearly nothing. Source: Smith and Topin 2018."""

    up: Annotated[float, Gt(0), Le(1)] = 0.3
    "Share of the steps on the way up."


SCHEDULES: Mapping[str, type] = {
    "constant": Constant,
    "cosine": Cosine,
    "linear": Linear,
    "step": StepDown,
    "exponential": Exponential,
    "one_cycle": OneCycle,
}
"""Parameters by name of the schedule."""


def parse_schedule(text: str) -> Any:
    """Returns the parameters of a schedule, an instance of one of `SCHEDULES`.

    Raises:
        RequestError: The schedule is unknown, or its parameters are not allowed.

    >>> parse_schedule("step:every=5")
    StepDown(every=5, factor=0.1)
    """
    spec = ComponentSpec.parse(text)
    if spec.name not in SCHEDULES or spec.code or spec.distribution:
        raise RequestError(f"schedule={text} is unknown.", hint=did_you_mean(spec.name, SCHEDULES))
    cls = SCHEDULES[spec.name]
    return cls(**check_fields(cls, spec.values, subject=f"schedule {spec.name}"))
