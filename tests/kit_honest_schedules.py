"""Schedules that are right, of kinds that do not ship; no torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt

from regplug.api import Schedule

HONEST = []


def right(params=None):
    def put(target):
        fields = {"params": params} if params else {}
        HONEST.append(
            Schedule(name=target.__name__, target=f"{__name__}:{target.__name__}", summary="As it should be.", **fields)
        )
        return target

    return put


@dataclass(frozen=True)
class Power:
    power: Annotated[float, Gt(0)] = 2.0
    "Of what is left."


@right(Power)
def polynomial(params, step):
    return (1 - step.index / step.count) ** params.power


@right()
def inverse_root(params, step):
    return 1 / math.sqrt(1 + step.epoch)


@right()
def with_restarts(params, step):
    return 0.5 * (1 + math.cos(math.pi * (step.epoch % 3) / 3))


@right()
def still_at_first(params, step):
    """A whole number, and nothing in the first of two steps or more."""
    return 0 if step.index == 0 and step.count > 1 else 1
