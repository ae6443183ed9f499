"""The schema of a manifest with several inputs or outputs. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from regplug.bundles.schema import (
    COUNT,
    DTYPES,
    MANIFEST_FORM,
    RANGE,
    RANKS,
    STOCHASTIC,
    TASKS,
    Each,
    Fields,
    Kind,
    calibration_faults,
    faults,
    figure_contradictions,
    file_contradictions,
    is_whole,
    one_of,
    repeated,
)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_FORMULA = re.compile(r"[\w\s()+\-*/%.,]{1,200}")
_MOST_AXES = 32

NAME = Kind(
    "a name of letters, digits and underscores", lambda value: isinstance(value, str) and bool(_NAME.fullmatch(value))
)


def _is_shape(value: Any) -> bool:
    is_list = isinstance(value, list) and 1 <= len(value) <= _MOST_AXES and value[0] == "batch"
    return is_list and all(
        is_whole(axis) or (isinstance(axis, str) and axis != "batch" and bool(_FORMULA.fullmatch(axis)))
        for axis in value[1:]
    )


_SHAPE = Kind('["batch", whole numbers and names of axes]', _is_shape)
_SIZES = Each(Each(COUNT))
_INPUT = Fields(
    {
        "name": NAME,
        "layout": one_of("image", "row", "array"),
        "dtype": one_of(*DTYPES),
        "shape": _SHAPE,
        "range": RANGE,
    },
    {},
)
_OUTPUT = Fields({"name": NAME, "shape": _SHAPE, "dtype": one_of("float32"), "checked": _SIZES}, {})
_AXIS = Fields(
    {
        "least": COUNT,
        "most": Kind("a whole number or null", lambda value: value is None or is_whole(value)),
        "checked": Each(COUNT, least=1),
    },
    {},
)
_SINGLE = ("num_outputs", "input", "output", "column_names", "preparation", "members")

FORM = Fields(
    {
        **{name: form for name, form in MANIFEST_FORM.needed.items() if name not in _SINGLE},
        "task": Kind("a task or null", lambda value: value is None or value in TASKS),
        "inputs": Each(_INPUT, least=1),
        "outputs": Each(_OUTPUT, least=1),
        "axes": Each(_AXIS, is_mapping=True),
    },
    {name: form for name, form in MANIFEST_FORM.other.items() if name not in _SINGLE},
    is_open=True,
)
"""The form of such a manifest; `named_fault` also checks relations between fields."""


def named_fault(manifest: Any) -> str:
    """Returns what is wrong with a manifest, or an empty string."""
    found = next(faults(manifest, FORM, ""), "")
    if not found and manifest["stochastic"] is not None:
        found = next(faults(manifest["stochastic"], STOCHASTIC, "stochastic"), "")
    return found or next(_contradictions(manifest), "")


def _contradictions(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{name} has no meaning with several inputs" for name in _SINGLE if name in manifest)
    added = (manifest.get("calibration") or {}).get("output")
    names = [part["name"] for kind in ("inputs", "outputs") for part in manifest[kind]]
    twice = repeated([*names, added["name"]] if isinstance(added, dict) and "name" in added else names)
    if twice:
        yield f"two inputs or outputs are named {twice!r}"
    yield from _axis_contradictions(manifest)
    for at, part in enumerate(manifest["outputs"]):
        yield from _output_contradictions(f"outputs[{at}]", part, manifest)
    yield from _task_contradictions(manifest)
    yield from figure_contradictions(manifest)
    yield from file_contradictions(manifest)


def _task_contradictions(manifest: Mapping[str, Any]) -> Iterator[str]:
    task, names, shape = manifest["task"], manifest["class_names"], manifest["outputs"][0]["shape"]
    if names and task in (None, "regression"):
        yield f"the task is {task!r}, and class_names holds {len(names)} names"
    if names and (len(set(names)) != len(names) or shape[1:] != [len(names)]):
        yield f"class_names holds {len(set(names))} names, and the first output has shape {shape}"
    has_columns = len(shape) == 2 and is_whole(shape[1])
    if task is not None and not has_columns:
        yield f"the task is {task!r}, and the first output has shape {shape}"
    if manifest.get("calibration") is not None:
        yield from calibration_faults(manifest, shape[1] if has_columns else 0)


def _axis_contradictions(manifest: Mapping[str, Any]) -> Iterator[str]:
    axes, used = manifest["axes"], set()
    for at, part in enumerate(manifest["inputs"]):
        used |= {axis for axis in part["shape"][1:] if isinstance(axis, str)}
        if len(part["shape"]) != RANKS.get(part["layout"], len(part["shape"])):
            yield f"inputs[{at}].shape is {part['shape']}, and the layout is {part['layout']!r}"
    if used != set(axes):
        yield f"the inputs have the axes {sorted(used)}, and axes describes {sorted(axes)}"
    if len({len(axis["checked"]) for axis in axes.values()}) > 1:
        yield "axes were not checked at the same number of sizes"
    for name, axis in axes.items():
        most = axis["most"]
        if not _NAME.fullmatch(name) or (most is not None and most < axis["least"]):
            yield f"axes[{name!r}] has the range {axis['least']} to {most}"
        if any(size < axis["least"] or (most is not None and size > most) for size in axis["checked"]):
            yield f"axes[{name!r}] was checked at a size out of its range"


def _output_contradictions(where: str, part: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[str]:
    settings = max((len(axis["checked"]) for axis in manifest["axes"].values()), default=1)
    if len(part["checked"]) != settings:
        yield f"{where}.checked has {len(part['checked'])} shapes, and the axes {settings} sizes"
    shape = part["shape"][1:]
    for checked in part["checked"]:
        fits = len(checked) == len(shape) and all(
            isinstance(axis, str) or axis == size for axis, size in zip(shape, checked, strict=True)
        )
        if not fits:
            yield f"{where}.checked has {checked}, and its shape is {part['shape']}"
