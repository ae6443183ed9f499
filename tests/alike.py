"""A composition trained alone, in a stack, and stopped and continued: the same weights each time."""

from __future__ import annotations

import functools
import io
import traceback
from collections.abc import Mapping

import torch
from catalogue import REGULARIZERS, contradiction, fields
from trainings import assembled, greatest_difference, stack_of, trained, trainer_of, weights

from regplug.config.params import describe_params
from regplug.config.spec import ComponentSpec
from regplug.errors import CompositionError

TOLERANCE = 1e-9
_DECLARED = {"check_composition", "find_notices", "require_inverses"}


@functools.cache
def refusal(*names: str) -> str:
    """Why these are not composed, as their descriptors or their `check` say; empty where they are.

    Raises:
        CompositionError: They fail for another reason.
    """
    if impossible := contradiction(*names):
        return impossible
    try:
        assembled(**fields(*names))
    except CompositionError as error:
        if traceback.extract_tb(error.__traceback__)[-1].name not in _DECLARED:
            raise
        return error.message
    return ""


def assert_alike(*names: str) -> dict[str, torch.Tensor]:
    """Trains ten steps of two runs that differ in seed, rate and strengths: alone, stacked, and stopped half way.

    Returns:
        What the first run has learned.
    """
    runs = [{**fields(*names)}, {**fields(*names), "seed": 1, "lr": 0.02, "reg": at_defaults(fields(*names)["reg"])}]
    alone = [learned(**run) for run in runs]
    assert all(torch.isfinite(value).all() for one in alone for value in one.values())
    assert greatest_difference(_continued(runs[0]), alone[0], relative=True) < TOLERANCE, "stopped and continued"
    if all(REGULARIZERS[name].stackable for name in names):
        together, _ = trained(stack_of(*(assembled(**run) for run in runs)))
        for number, expected in enumerate(alone):
            assert greatest_difference(weights(together, number), expected, relative=True) < TOLERANCE, "stacked"
    return alone[0]


def learned(**run: object) -> dict[str, torch.Tensor]:
    """What a run has learned."""
    return weights(trained(trainer_of(assembled(**run)))[0])


def is_changed(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two networks differ in a tensor that both have; a structural regularizer may rename some."""
    return not all(torch.equal(value, other[name]) for name, value in one.items() if name in other)


def at_defaults(regs: list[str]) -> list[str]:
    """The same regularizers at their defaults, except those whose felt values are more than numbers of a stack."""
    changed = []
    for text in regs:
        spec = ComponentSpec.parse(text)
        stackable = {info.name for info in describe_params(REGULARIZERS[spec.name].params) if info.stackable}
        changed.append(spec.name if set(spec.values) <= stackable else text)
    return changed


def _continued(run: dict[str, object]) -> dict[str, torch.Tensor]:
    first = trainer_of(assembled(**run))
    next(iter(first.train()))
    file = io.BytesIO()
    torch.save(first.state.to_dict(), file)
    file.seek(0)
    second = trainer_of(assembled(**run))
    second.state.load_dict(torch.load(file, weights_only=True))
    return weights(trained(second)[0])
