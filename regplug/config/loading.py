"""Reading a configuration: defaults < file < `--set` < flags.

A flag names a whole component and a dotted `--set` refines one, so `--reg dropout --set reg.dropout.at=act*` means
both; where the two give the same parameter the flag counts.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regplug.config.literals import read_value, write_value
from regplug.config.params import check_fields, describe_params
from regplug.config.run_config import KIND_BY_FIELD, NO_COMPONENT, REPEATED_FIELDS, RUN_HINT, SHORTHANDS, RunConfig
from regplug.config.spec import ComponentSpec
from regplug.errors import RequestError, did_you_mean

Suggest = Callable[[ComponentSpec], Sequence[str]]
"""Returns the settings that suit a dataset, as texts such as `optimizer=adam`."""

UPDATE_FIELDS = ("optimizer", "lr", "momentum", "nesterov")
"""Fields that belong together: a learning rate of one optimizer does not suit another one."""

_SET_HINT = "Write --set lr=0.1, --set model.hidden=[64] or --set reg.l2.strength=0.1."


def load_config(
    file: Path | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    *,
    suggest: Suggest | None = None,
) -> RunConfig:
    """Returns a run's configuration.

    Args:
        file: A TOML or YAML file, in which a component is a text or a table with its `name` and parameters.
        overrides: Texts `a=c` or `a.b=c`: `lr=0.1`, `model.hidden=[64]`, `reg.l2.strength=0.1`. The last adds the
            regularizer where it is absent.
        flags: Value by field; `None` where it was not given.
        suggest: Is asked for the settings that suit the dataset if none of `UPDATE_FIELDS` is given.

    Raises:
        RequestError: A file cannot be read, a key is unknown, or a value is not allowed; file and key are named.
    """
    return config_from({} if file is None else read_file(file), str(file), overrides, flags, suggest=suggest)


def config_from(
    values: Mapping[str, object],
    origin: str,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    *,
    suggest: Suggest | None = None,
) -> RunConfig:
    """Returns a run's configuration from a file that was read already; see `load_config`.

    Args:
        values: Value by field.
        origin: Where the values stand, for messages.
        overrides: See `load_config`.
        flags: See `load_config`.
        suggest: See `load_config`.
    """
    draft = _Draft()
    _refuse_both(values, origin)
    for name, value in values.items():
        draft.put(name, value, origin=origin)
    dotted, whole = [], []
    for text in overrides:
        path, value = _split_override(text)
        if len(path) == 1:
            whole.append(path[0])
            draft.put(path[0], _as_field(path[0], value), origin=f"--set {text}")
        else:
            dotted.append((path, value, f"--set {text}"))
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    _refuse_both(given, "the flags")
    for name, value in given.items():
        draft.put(name, value, origin=f"--{name.replace('_', '-')}")
    for path, value, origin in dotted:
        draft.refine(path, value, origin=origin, fixed=path[0] in given)
    if suggest is not None:
        draft.suit(suggest)
    config = draft.finish()
    return config.choosing(_chosen(config, [*whole, *given], [path for path, _, _ in dotted]))


def _chosen(config: RunConfig, fields: Sequence[str], paths: Sequence[Sequence[str]]) -> set[str]:
    """Returns the names of what these fields and these parts of components choose."""
    found = {*fields, *map(".".join, paths)}
    found |= {f"{SHORTHANDS[name]}.{name}" for name in fields if name in SHORTHANDS}
    for field in KIND_BY_FIELD.keys() & {*fields}:
        for spec in config.specs(field):
            owner = f"{field}.{spec.key}" if field in REPEATED_FIELDS else field
            found |= {f"{owner}.{name}" for name in spec.values}
    return found


class _Draft:
    """The fields given so far, with components as specs, so that they can be refined."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}

    def put(self, name: str, value: object, *, origin: str) -> None:
        """Gives a whole field."""
        names = [field.name for field in dataclasses.fields(RunConfig)]
        if name not in names:
            raise RequestError(f"{origin}: {name} is unknown.", hint=did_you_mean(name, names))
        if name not in KIND_BY_FIELD:
            self._put_plain(name, value, origin)
            return
        with _told(f"{origin}: {name}"):
            if name in REPEATED_FIELDS:
                self._fields[name] = self._read_components(value)
            elif name in NO_COMPONENT and value == NO_COMPONENT[name]:
                self._fields[name] = []
            else:
                self._fields[name] = self._read_component(value, self._current(name), is_data=name == "dataset")
                self._forget_shorthands(name)

    def _put_plain(self, name: str, value: object, origin: str) -> None:
        checked = check_fields(RunConfig, {name: value}, subject=origin, hint=RUN_HINT)
        owner = SHORTHANDS.get(name, "")
        named = [spec for spec in self._current(owner) if name in spec.values] if owner else []
        if named:
            self._fields[owner] = [spec.with_values({**spec.values, **checked}) for spec in named]
        else:
            self._fields |= checked

    def _forget_shorthands(self, owner: str) -> None:
        """Drops what was given earlier and shorter for a parameter that a component now has of its own."""
        for name, field in SHORTHANDS.items():
            if field == owner and any(name in spec.values for spec in self._fields[owner]):
                self._fields.pop(name, None)

    def refine(self, path: list[str], value: str, *, origin: str, fixed: bool) -> None:
        """Gives one parameter of a component, unless a flag has given it (`fixed`)."""
        name, *keys = path
        depth = 2 if name in REPEATED_FIELDS else 1
        if name not in KIND_BY_FIELD or len(keys) != depth:
            known = describe_params(RunConfig)
            hint = _SET_HINT if name in KIND_BY_FIELD else did_you_mean(name, [info.name for info in known])
            raise RequestError(f"{origin}: there is no {'.'.join(path)}.", hint=hint)
        with _told(origin):
            specs = self._current(name)
            index = self._index(specs, keys[0] if depth == 2 else None, name)
            if not (fixed and keys[-1] in specs[index].values):
                specs[index] = specs[index].with_values({**specs[index].values, keys[-1]: read_value(value)})
            self._fields[name] = specs
            if name not in REPEATED_FIELDS:
                self._forget_shorthands(name)

    @staticmethod
    def _index(specs: list[ComponentSpec], key: str | None, field: str) -> int:
        """Where the component stands; one of a repeated field is added where it is absent."""
        if key is None:
            if not specs:
                raise RequestError(f"no {field} is chosen.", hint=f"Add --{field} NAME.")
            return 0
        index = next((i for i, spec in enumerate(specs) if spec.key == key), len(specs))
        if index == len(specs):
            specs.append(ComponentSpec.parse(key))
        return index

    def _current(self, name: str) -> list[ComponentSpec]:
        if name in self._fields:
            return list(self._fields[name])
        default: Any = RunConfig.__dataclass_fields__[name].default
        texts = [default] if isinstance(default, str) else default
        return [
            ComponentSpec.parse(text, is_data=name == "dataset") for text in texts if text != NO_COMPONENT.get(name)
        ]

    def _read_components(self, value: object) -> list[ComponentSpec]:
        items = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(item, str) and not item.strip() for item in items):
            raise RequestError("an empty string is not a component.", hint="Leave it out, or give [] for none.")
        return [spec for item in items for spec in self._read_component(item, [])]

    @staticmethod
    def _read_component(value: object, current: list[ComponentSpec], *, is_data: bool = False) -> list[ComponentSpec]:
        """A component from a text or a table; a table without a name refines the current one."""
        if isinstance(value, str):
            return [ComponentSpec.parse(value, is_data=is_data)] if value else []
        if not isinstance(value, Mapping):
            raise RequestError(
                f"{value!r} is not a component.", hint="Write its name, or a table with name and parameters."
            )
        values = {str(key): item for key, item in value.items() if key != "name"}
        for item in values.values():
            write_value(item)
        if "name" in value:
            spec = ComponentSpec.parse(str(value["name"]), is_data=is_data)
        elif current:
            spec = current[0]
        else:
            raise RequestError(f"the table with {', '.join(values)} has no name.", hint='Add name = "...".')
        return [spec.with_values({**spec.values, **values})]

    def suit(self, suggest: Suggest) -> None:
        """Gives the settings that suit the dataset, unless fields that belong to them are given."""
        if any(name in self._fields for name in UPDATE_FIELDS):
            return
        suggested = [(dataset, text) for dataset in self._current("dataset") for text in suggest(dataset)]
        for dataset, text in suggested:
            name, _, value = text.partition("=")
            if name not in self._fields:
                self.put(name, _as_field(name, value), origin=f"The dataset {dataset}")

    def finish(self) -> RunConfig:
        """Returns the configuration."""
        fields = dict(self._fields)
        for name in KIND_BY_FIELD:
            if name in fields:
                specs = tuple(fields[name])
                fields[name] = specs if name in REPEATED_FIELDS else specs[0] if specs else NO_COMPONENT.get(name, "")
        return RunConfig(**fields)


def _refuse_both(values: Mapping[str, object], origin: str) -> None:
    """Refuses a parameter that one place gives twice: as a shorthand and as a parameter of its component.

    Raises:
        RequestError: It does.
    """
    for name, owner in SHORTHANDS.items():
        value = values.get(owner)
        if name in values and value:
            with _told(f"{origin}: {owner}"):
                own = ComponentSpec.parse(value, is_data=owner == "dataset").values if isinstance(value, str) else value
            if isinstance(own, Mapping) and name in own:
                raise RequestError(f"{origin}: {name} is given twice, also by {owner}.", hint=f"Give {name} once.")


@contextmanager
def _told(origin: str) -> Iterator[None]:
    """Says in an error where the value stands."""
    try:
        yield
    except RequestError as error:
        raise type(error)(f"{origin}: {error.message}", hint=error.hint) from None


def _split_override(text: str) -> tuple[list[str], str]:
    path, equals, value = text.partition("=")
    parts = [part.strip() for part in path.split(".")]
    if not equals or not all(parts):
        raise RequestError(f"--set {text} is not an assignment.", hint=_SET_HINT)
    return parts, value.strip()


def _as_field(name: str, value: str) -> Any:
    """A value as its field wants it: text stays text, and what names components may be a list of them."""
    field = RunConfig.__dataclass_fields__.get(name)
    if field is None or name in REPEATED_FIELDS:
        return read_value(value) if value.startswith("[") else value
    if isinstance(field.default, str):
        return str(read_value(value)) if value[:1] in ("'", '"') else value
    return read_value(value)


def read_file(file: Path) -> dict[str, Any]:
    """Returns what a TOML, YAML or JSON file holds.

    Raises:
        RequestError: It cannot be read or holds no fields.
    """
    readers: dict[str, Callable[[str], Any]] = {
        ".toml": tomllib.loads,
        ".yaml": _read_yaml,
        ".yml": _read_yaml,
        ".json": _read_yaml,
    }
    if file.suffix not in readers:
        raise RequestError(
            f"{file} is not a configuration file.", hint=f"Name a file that ends with {', '.join(readers)}."
        )
    try:
        data = readers[file.suffix](file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{file} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise RequestError(f"{file} holds no fields.", hint="Write lines such as lr: 0.1.")
    return {str(name): value for name, value in data.items()}


def _read_yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads 1e-3 as a number, as YAML 1.2 and everybody does; YAML 1.1 takes it for a text."""

    number = re.compile(r"[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+|[-+]?\.\d[\d_]*[eE][-+]?\d+")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789."))
    try:
        return yaml.load(text, Loader) or {}  # noqa: S506  # a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
