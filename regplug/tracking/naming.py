"""Names, parameters, tags and description of a run in the MLflow UI. Pure functions; does not import mlflow."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from regplug.tracking.limits import MAX_KEY_LENGTH, shorten

_NOT_ALLOWED = re.compile(r"[^\w\-. /]", re.ASCII)
_NAME_LENGTH = 250

NamedParams = tuple[str, Mapping[str, object]]
"""A component's name (or alias) and its parameters."""


def run_name(model: str, regs: Sequence[str], seed: int) -> str:
    """Returns a readable name with the settings that are not defaults.

    Args:
        model: The model's name.
        regs: Regularizers as the user would type them, without the parameters that are at their defaults.
        seed: The run's seed.

    >>> run_name("mlp", ["dropout:drop_probability=0.5", "l2"], 3)
    'mlp + dropout:drop_probability=0.5 + l2 seed 3'
    >>> run_name("linear", [], 0)
    'linear seed 0'
    """
    tail = f" seed {seed}"
    return shorten(" + ".join([model, *regs]), _NAME_LENGTH - len(tail)) + tail


def param_text(value: object) -> str:
    """Returns a parameter as text that the UI can show and sort: numbers as numbers, others as JSON or plain text.

    >>> [param_text(value) for value in (0.5, 3, 1e-05, True, None, [64, 32], "relu")]
    ['0.5', '3', '1e-05', 'true', 'none', '[64,32]', 'relu']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, int | float):
        return repr(value) if value else "0"  # as for a strength that is off
    plain = list(value) if isinstance(value, tuple | set | frozenset) else value
    return json.dumps(plain, separators=(",", ":"), default=str)


def safe_key(key: str) -> str:
    """Returns a name that is valid for MLflow's parameters, metrics and tags.

    >>> safe_key("reg.dropout@wide.drop_probability")
    'reg.dropout-wide.drop_probability'
    """
    return shorten_key(_NOT_ALLOWED.sub("-", key))


def shorten_key(key: str) -> str:
    """Returns `key`, shortened to MLflow's limit."""
    return key[:MAX_KEY_LENGTH]


def run_params(
    config: Mapping[str, object],
    *,
    model: NamedParams,
    dataset: NamedParams,
    regularizers: Sequence[NamedParams] = (),
    others: Mapping[str, NamedParams] | None = None,
) -> dict[str, object]:
    """Returns a run's parameters as flat columns for the UI.

    Args:
        config: All other fields of the run (`optimizer`, `lr`, `epochs`, `seed`, ...); nested tables are flattened
            with dots. Entries with the name of a component below are skipped.
        model: Name and parameters; they become `model` and `model.<param>`.
        dataset: The same for the dataset.
        regularizers: Each becomes `reg.<name>.<param>`, all together `regularizers`, sorted and joined by +.
        others: Components of other kinds by column: `activation`, `init`.

    >>> params = run_params({"lr": 0.1, "seed": 3}, model=("mlp", {"hidden": [64]}), dataset=("digits", {}),
    ...     regularizers=[("l2", {"strength": 0.1}), ("dropout", {})])
    >>> list(params)
    ['model', 'model.hidden', 'dataset', 'regularizers', 'reg.l2.strength', 'lr', 'seed']
    >>> params["regularizers"], params["reg.l2.strength"]
    ('dropout+l2', 0.1)
    """
    columns = {"model": model, "dataset": dataset, **(others or {})}
    flat: dict[str, object] = {}
    for column, (name, params) in columns.items():
        flat[column] = name
        flat |= {f"{column}.{key}": value for key, value in flatten(params).items()}
    flat["regularizers"] = "+".join(sorted(name for name, _ in regularizers)) or "none"
    for name, params in regularizers:
        flat |= {f"reg.{name}.{key}": value for key, value in flatten(params).items()}
    flat |= flatten({key: value for key, value in config.items() if key not in {*columns, "reg", "regularizers"}})
    return {safe_key(key): value for key, value in flat.items()}


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Flattens nested tables, joining keys with dots.

    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def provenance_tags(components: Sequence[tuple[str, str, str, str]]) -> dict[str, str]:
    """Returns tags with the distribution and version of each component.

    Args:
        components: Kind, name, distribution and version of each.

    >>> provenance_tags([("regularizer", "dropout", "regplug", "0.1.0")])
    {'regplug.component.regularizer.dropout': 'regplug:dropout@0.1.0'}
    """
    return {
        safe_key(f"regplug.component.{kind}.{name}"): f"{distribution}:{name}@{version}"
        for kind, name, distribution, version in components
    }


def note(*, title: str, model: str, dataset: str, regularizers: str, training: str, command: str) -> dict[str, str]:
    """Returns the tag that the UI shows as the run's description, with the command that repeats the run.

    Args:
        title: The run's name.
        model: The model as text.
        dataset: The dataset as text.
        regularizers: The regularizers as text; empty for none.
        training: Optimizer, learning rate, epochs and seed as text.
        command: The command that repeats the run.

    >>> words = {"title": "mlp seed 0", "model": "mlp", "dataset": "digits", "regularizers": "", "training": "sgd"}
    >>> note(**words, command="regplug run")["mlflow.note.content"].splitlines()[0]
    '**mlp seed 0**: mlp on digits  '
    """
    lines = [f"**{title}**: {model} on {dataset}", f"Regularizers: {regularizers or 'none'}", f"Training: {training}"]
    # Two spaces at the end of a line are a line break in markdown.
    return {"mlflow.note.content": "  \n".join([*lines, f"Repeat with:\n`{command}`"])}
