"""Types of the arguments, for editors and type checkers; nothing imports this module when it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import nn

from regplug.api import Component
from regplug.config.spec import ComponentSpec
from regplug.data import RawData

PathLike: TypeAlias = str | os.PathLike[str]

ComponentLike: TypeAlias = str | ComponentSpec | Component | Mapping[str, Any]
"""A component as text (`l2:strength=0.1`), a descriptor, or a table with its name and parameters."""

ComponentsLike: TypeAlias = ComponentLike | Sequence[ComponentLike]
"""Any number of components."""

ModelLike: TypeAlias = ComponentLike | nn.Module | Callable[[], nn.Module]
"""A component, a module of which a copy is trained, or a function that makes one."""

DatasetLike: TypeAlias = ComponentLike | RawData | tuple[Any, Any] | list[Any] | Any
"""A component, the path of a file or folder, `(x, y)`, a data frame or a `regplug.data.RawData`."""

GroupLike: TypeAlias = str | Any
"""Name of a column, or an array with the group of each row."""

TextsLike: TypeAlias = str | Sequence[str]
"""One text or several."""
