"""The axes of a study: `lr=0.1,0.5`, `reg.l2.strength=log(1e-4,1,16)`, `reg=none,dropout,l2+dropout`."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from regplug.config import KIND_BY_FIELD, REPEATED_FIELDS, SHORTHANDS, RunConfig
from regplug.config.literals import read_value, write_value
from regplug.config.params import describe_params
from regplug.config.spec import ComponentSpec
from regplug.errors import RequestError, did_you_mean
from regplug.registry import Registry, takes_keywords

Scale = Literal["list", "log", "linear"]

MOST_VALUES = 100_000
"""Most values of an axis; a longer one is a typing error, whose values alone could fill the memory."""

MOST_FACTORS = 6
"""Most factors of a factorial: 64 settings."""

_RANGE = re.compile(r"(log|linear)\(([^()]*)\)")
_HINT = "Write AXIS=v1,v2, AXIS=log(1e-4,1,16) or AXIS=linear(0,1,5)."

_NO_AXES = {
    "seed": "Use --seeds N for seeds.",
    "data_seed": "Use --data-seeds N for data seeds.",
    "fold": "Use regplug cv --folds N for folds.",
    **dict.fromkeys(
        (
            "experiment",
            "name",
            "out",
            "export",
            "format",
            "calibrate",
            "conformal",
            "probe",
            "threads",
            "device",
            "checkpoint_every",
            "keep_predictions",
            "system_metrics",
        ),
        "It does not change what is trained.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a study.

    Args:
        path: Its path in the configuration: `lr`, `model.hidden`, `reg.l2.strength`, `reg`.
        values: Its values, in order.
        scale: The scale of its axis in a figure.
    """

    path: str
    values: tuple[Any, ...]
    scale: Scale = "list"

    @property
    def is_numeric(self) -> bool:
        """Whether every value is a number."""
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)


def parse_axis(text: str) -> Axis:
    """Reads one axis.

    Raises:
        RequestError: It has no name, no value or an invalid range.

    >>> parse_axis("reg.l2.strength=log(0.01,1,3)").values
    (0.01, 0.1, 1.0)
    >>> parse_axis("reg=none,l2+dropout").values
    ('none', 'l2+dropout')
    """
    path, equals, rest = text.partition("=")
    path, rest = path.strip(), rest.strip()
    if not equals or not path:
        raise RequestError(f"The axis {text!r} has no name and values.", hint=_HINT)
    spread = _RANGE.fullmatch(rest)
    if spread:
        scale: Scale = "log" if spread[1] == "log" else "linear"
        return Axis(path=path, values=_range(text, scale, spread[2]), scale=scale)
    items = [item.strip() for item in _split(rest)]
    if not rest or not all(items):
        raise RequestError(f"The axis {text!r} has no value, so the product is empty.", hint=_HINT)
    values = tuple(value for item in items for value in (expand(_text(item)) if path == "reg" else [read_value(item)]))
    if len(set(map(repr, values))) < len(values):
        raise RequestError(
            f"The axis {text!r} names a value twice.", hint="Name each value once; --seeds repeats runs."
        )
    return Axis(path=path, values=values)


def on_and_off(text: str) -> Axis:
    """Returns the axis of all combinations of regularizers that are on or off.

    Args:
        text: Regularizers, separated by commas.

    Raises:
        RequestError: There are fewer than two, or too many.

    >>> on_and_off("dropout,l2").values
    ('none', 'dropout', 'l2', 'dropout+l2')
    """
    factors = [_text(item.strip()) for item in _split(text)]
    if not all(factors) or not 2 <= len(set(factors)) == len(factors) <= MOST_FACTORS:
        raise RequestError(
            f"--factorial {text} does not name 2 to {MOST_FACTORS} regularizers.",
            hint="Separate them by commas: --factorial dropout,l2:strength=1e-3",
        )
    sizes = range(1, len(factors) + 1)
    subsets = ["+".join(some) for size in sizes for some in itertools.combinations(factors, size)]
    return Axis(path="reg", values=("none", *(value for subset in subsets for value in expand(subset))))


def expand(text: str) -> list[str]:
    """Returns the regularizers that a text stands for: one for each combination of the values between bars.

    >>> expand("l2:strength=0.1|1+dropout")
    ['l2:strength=0.1+dropout', 'l2:strength=1+dropout']
    """
    if "|" not in text:
        return [text]
    return ["+".join(parts) for parts in itertools.product(*(_expanded(part) for part in _parts(text)))]


def _expanded(part: str) -> list[str]:
    if "|" not in part:
        return [part]
    spec = ComponentSpec.parse(part)
    options = [
        [(name, read_value(each)) for each in value.split("|")]
        if isinstance(value, str) and "|" in value
        else [(name, value)]
        for name, value in spec.values.items()
    ]
    return [str(spec.with_values(dict(chosen))) for chosen in itertools.product(*options)]


def _text(item: str) -> str:
    return str(read_value(item)) if item[:1] in "\"'" else item


def _split(text: str) -> Iterator[str]:
    """Splits at commas outside brackets and quotes."""
    start, depth, quote = 0, 0, ""
    for at, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[(":
            depth += 1
        elif letter in "])":
            depth -= 1
        elif letter == "," and depth == 0:
            yield text[start:at]
            start = at + 1
    yield text[start:]


def _range(text: str, kind: str, inside: str) -> tuple[float, ...]:
    try:
        low, high, count = (float(part) for part in inside.split(","))
    except ValueError:
        raise RequestError(f"The axis {text!r} is not a valid range: it needs three numbers.", hint=_HINT) from None
    are_finite = all(map(math.isfinite, (low, high, count)))
    if not are_finite or count != int(count) or count < 2 or (kind == "log" and min(low, high) <= 0):
        raise RequestError(
            f"The axis {text!r} is not a valid range: it needs two finite ends, positive for log, and a count of at "
            "least 2.",
            hint=_HINT,
        )
    if count > MOST_VALUES:
        raise RequestError(f"The axis {text!r} has more than {MOST_VALUES:,} values.", hint="Use fewer.")
    shares = [i / (int(count) - 1) for i in range(int(count))]
    if kind == "linear":
        return tuple(low + (high - low) * share for share in shares)
    # Rounded, so that a decade is 0.01 and not 0.010000000000000002.
    return tuple(float(f"{math.exp(math.log(low) + math.log(high / low) * share):.12g}") for share in shares)


def with_value(config: RunConfig, path: str, value: Any) -> RunConfig:
    """Returns the configuration with one axis at one value; adds a missing regularizer.

    Raises:
        RequestError: The axis cannot vary, or the value is not allowed there.
    """
    field, *keys = path.split(".")
    if field in SHORTHANDS:
        field, keys = SHORTHANDS[field], [field]
    if keys and SHORTHANDS.get(keys[-1]) == field:
        neutral: dict[str, Any] = {keys[-1]: RunConfig.__dataclass_fields__[keys[-1]].default}
        config = config.replaced(**neutral)
    if field == "reg" and not keys:
        added = () if value == "none" else _parts(value)
        return config.replaced(reg=(*config.specs("reg"), *added))
    if field == "init" and not keys:
        return config.replaced(init=() if value == "none" else _parts(value))
    if not keys:
        return config.replaced(**{field: value})
    specs = list(config.specs(field))
    at = 0
    if field in REPEATED_FIELDS:
        spec = find_component(config, field, keys[0])
        specs = specs if spec in specs else [*specs, spec]
        at = specs.index(spec)
    specs[at] = specs[at].with_values({**specs[at].values, keys[-1]: value})
    changed: dict[str, Any] = {field: specs if field in REPEATED_FIELDS else specs[0]}
    return config.replaced(**changed)


def find_component(config: RunConfig, field: str, key: str) -> ComponentSpec:
    """Returns the run's component with this key; if there is none, the installed component of this name.

    Raises:
        RequestError: The run has no such component, and no installed component can have this name.
    """
    own = next((spec for spec in config.specs(field) if spec.key == key), None)
    if own is not None:
        return own
    try:
        return ComponentSpec.parse(key)
    except RequestError:
        hint = f"Choose your own class first: --{field} ./FILE.py:{key}"
        raise RequestError(f"The run has no {field} {key}.", hint=hint) from None


def _parts(value: str) -> tuple[str, ...]:
    """The components of one value of an axis, joined by `+`."""
    return tuple(part.strip() for part in value.split("+"))


def check_axes(axes: Sequence[Axis], config: RunConfig, registry: Registry) -> None:
    """Refuses axes that are unknown or cannot vary.

    Raises:
        RequestError: An axis is refused; the message suggests similar names.
    """
    for axis in axes:
        _check_axis(axis, registry)
        _check_parameter(axis, axes, config, registry)
    paths = [axis.path for axis in axes]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice:
        raise RequestError(f"The axis {twice} is given twice.", hint="Put all its values into one axis.")


def _check_axis(axis: Axis, registry: Registry) -> None:
    field, *keys = axis.path.split(".")
    fields = [f.name for f in dataclasses.fields(RunConfig)]
    if field not in fields:
        near = did_you_mean(field, [*fields, *(f"reg.{one.name}" for one in registry.components("regularizer"))])
        raise RequestError(f"The axis {axis.path} names no field of a run.", hint=near)
    if field in _NO_AXES:
        raise RequestError(f"A grid cannot vary {field}.", hint=_NO_AXES[field])
    depth = 2 if field in REPEATED_FIELDS else 1
    if keys and (field not in KIND_BY_FIELD or len(keys) != depth):
        raise RequestError(
            f"The axis {axis.path} names no parameter.", hint="Write lr, model.hidden or reg.l2.strength."
        )


def _check_parameter(axis: Axis, axes: Sequence[Axis], config: RunConfig, registry: Registry) -> None:
    """Refuses a parameter that none of the runs' components has; one component that has it is enough."""
    field, *keys = axis.path.split(".")
    if not keys:
        return
    kind = KIND_BY_FIELD[field]
    found = [registry.find(kind, registry.locate(kind, spec)) for spec in _refined(axis, axes, config)]
    if any(takes_keywords(one) for one in found):
        return
    known = list(dict.fromkeys(info.name for one in found for info in describe_params(one.component.params)))
    if keys[-1] not in known:
        names = " or ".join(one.name for one in found)
        raise RequestError(f"The axis {axis.path} names no parameter of {names}.", hint=did_you_mean(keys[-1], known))


def _refined(axis: Axis, axes: Sequence[Axis], config: RunConfig) -> list[ComponentSpec]:
    """Returns the components whose parameter an axis varies: those of the axis that selects them, else the run's own.

    Raises:
        RequestError: There is none.
    """
    field, key, *_ = axis.path.split(".")
    if field in REPEATED_FIELDS:
        return [find_component(config, field, key)]
    naming = [value for other in axes if other.path == field for value in other.values]
    chosen = [config.replaced(**{field: value}) for value in naming] or [config]
    specs = [spec for each in chosen for spec in each.specs(field)]
    if not specs:
        raise RequestError(
            f"The axis {axis.path} varies a parameter of the {field}, but none is chosen.", hint=f"Add --{field} NAME."
        )
    return specs


def value_text(value: Any) -> str:
    """Returns a value as text for labels: floating-point numbers with six digits."""
    if isinstance(value, str):
        return value
    return f"{value:.6g}" if isinstance(value, float) else write_value(value)
