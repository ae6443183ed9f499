"""The base of a component's parameters."""

from __future__ import annotations

import dataclasses
from typing import Any, dataclass_transform


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Parameters:
    """A frozen dataclass whose fields are keyword arguments: `class MyParams(Parameters)` needs no decorator.

    `dataclasses.fields` and `replace` work as for every dataclass. Its methods are shared by all subclasses, because
    those that `@dataclass(frozen=True)` compiles for each class would take half the time of `regplug plugins list`.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=True)(cls)

    def __init__(self, **values: Any) -> None:
        fields = {field.name: field for field in dataclasses.fields(self)}  # type: ignore[arg-type] # each subclass is one
        if unknown := sorted(values.keys() - fields):
            raise TypeError(f"{type(self).__name__} has no parameter {unknown[0]}.")
        for name, field in fields.items():
            if name in values:
                value = values[name]
            elif field.default_factory is not dataclasses.MISSING:
                value = field.default_factory()
            elif field.default is not dataclasses.MISSING:
                value = field.default
            else:
                raise TypeError(f"{type(self).__name__} needs {name}.")
            object.__setattr__(self, name, value)
        if post_init := getattr(self, "__post_init__", None):
            post_init()

    def __setattr__(self, name: str, value: Any) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
