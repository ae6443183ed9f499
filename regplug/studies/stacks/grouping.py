"""Groups the runs that can be stacked, and gives the reason for those that cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from regplug.config.params import stackable_fields
from regplug.data import Prepared
from regplug.registry.components import Components
from regplug.studies.design.points import Point
from regplug.studies.stacks.study_data import StudyData

_STACKED = ("lr", "seed", "data_seed", "reg", "loss", "optimizer")
"""Fields in which runs of one stack may differ; components may differ only in parameters marked `Stackable`."""

_NOT_TRAINED = (
    *("name", "experiment", "out", "export", "format", "calibrate", "conformal"),
    *("probe", "keep_predictions", "system_metrics"),
)
"""Fields that do not affect training."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that differ only in numbers.

    Args:
        points: The runs.
        components: Components of the first run; those of the others have the same names.
        why_single: Why they cannot be stacked, or empty.
    """

    points: tuple[Point, ...]
    components: Components
    why_single: str = ""

    @property
    def network(self) -> tuple[str, ...]:
        """The components that determine the structure of the network: the model and the regularizers."""
        parts = [self.components.model, self.components.activation]
        written = [str(part.spec) for part in parts if part is not None]
        return (*written, *(reg.registered.full_name for reg in self.components.regs))


def group_points(points: Sequence[Point], data_of: StudyData) -> list[Group]:
    """Groups runs by everything that must be equal in a stack, in the order of first appearance.

    Args:
        points: The runs.
        data_of: Returns the data of a run; all runs of a stack have the same number of rows.
    """
    groups: dict[str, list[Point]] = {}
    first: dict[str, Components] = {}
    for point in points:
        data = data_of(point)
        components = data_of.components(point).for_task(data.task)
        # Weights of rows are one tensor for a whole stack, and only tensors of inputs can be joined: runs with others
        # of their own are trained apart.
        is_apart = data.weights is not None or not isinstance(data.train.x, Tensor)
        key = repr((_shared(point, components), _sizes(data), is_apart and id(data)))
        groups.setdefault(key, []).append(point)
        first.setdefault(key, components)
    return [
        Group(points=tuple(members), components=first[key], why_single=first[key].why_single())
        for key, members in groups.items()
    ]


def _shared(point: Point, components: Components) -> tuple[Any, ...]:
    config = point.config
    free = (*_STACKED, *_NOT_TRAINED)
    fields = [(f.name, getattr(config, f.name)) for f in dataclasses.fields(config) if f.name not in free]
    regs = tuple(sorted((reg.spec.key, str(_fixed(reg))) for reg in components.regs))
    return (*fields, regs, str(_fixed(components.loss)), str(_fixed(components.optimizer)), point.fold is None)


def _sizes(data: Prepared) -> list[tuple[int, ...]]:
    splits = [split for split in (data.train, data.valid, data.test) if split is not None]
    return [(*split.x.shape, *split.y.shape[1:]) for split in splits]


def _fixed(chosen: Any) -> dict[str, Any]:
    """Returns what must be equal in a stack; of a stackable parameter only its shape: one number, or one per site."""
    if isinstance(chosen.params, Mapping):
        return {"component": chosen.registered.full_name, **chosen.params}
    values = {f.name: getattr(chosen.params, f.name) for f in dataclasses.fields(chosen.params)}
    is_stackable = getattr(chosen.registered.component, "stackable", True)
    free = set(stackable_fields(type(chosen.params))) if is_stackable else set()
    return {
        "component": chosen.registered.full_name,
        **{n: (len(v) if isinstance(v, tuple) else "number") if n in free else v for n, v in values.items()},
    }
