"""First-party schedules of the learning rate: descriptors and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from annotated_types import Ge, Gt, Le

from regplug.api import Parameters, Schedule, hookimpl

_FACTORS = "regplug_schedules.factors"


class FinalParams(Parameters):
    """Parameters of `cosine` and `linear`."""

    final: Annotated[float, Ge(0), Le(1)] = 0.0
    "Factor at the end."


class StepParams(Parameters):
    """Parameters of `step`."""

    every: Annotated[int, Gt(0)] = 10
    "Epochs between two cuts."
    factor: Annotated[float, Gt(0), Le(1)] = 0.1
    "What the rate is multiplied with."


class ExponentialParams(Parameters):
    """Parameters of `exponential`."""

    factor: Annotated[float, Gt(0), Le(1)] = 0.95
    "What the rate is multiplied with."


class OneCycleParams(Parameters):
    """Parameters of `one_cycle`."""

    up: Annotated[float, Gt(0), Le(1)] = 0.3
    "Share of the steps on the way up."


@hookimpl
def regplug_schedules() -> Iterator[Schedule]:
    """Yields the first-party schedules."""
    yield Schedule(name="constant", target=f"{_FACTORS}:constant", summary="Keeps the rate constant.")
    yield Schedule(
        name="cosine",
        target=f"{_FACTORS}:cosine",
        params=FinalParams,
        summary="Half a cosine from the rate to `final` times it.",
        source="Loshchilov and Hutter 2017",
    )
    yield Schedule(
        name="linear",
        target=f"{_FACTORS}:linear",
        params=FinalParams,
        summary="A straight line from the rate to `final` times it.",
    )
    yield Schedule(
        name="step",
        target=f"{_FACTORS}:step_down",
        params=StepParams,
        summary="The rate times `factor` every `every` epochs.",
    )
    yield Schedule(
        name="exponential",
        target=f"{_FACTORS}:exponential",
        params=ExponentialParams,
        summary="The rate times `factor` every epoch.",
    )
    yield Schedule(
        name="one_cycle",
        target=f"{_FACTORS}:one_cycle",
        params=OneCycleParams,
        summary="Up to the rate and down to nearly nothing, along cosines.",
        source="Smith and Topin 2018",
    )
