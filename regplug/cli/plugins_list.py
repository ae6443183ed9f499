"""`regplug plugins list`: which components it lists, in which order and in which columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from regplug.cli.output import say_table
from regplug.errors import RequestError, did_you_mean

if TYPE_CHECKING:
    from regplug.registry import Registered, Registry

_LONGEST_SOURCE = 26


def say_group(title: str, group: Sequence[Registered], registry: Registry) -> None:
    """Prints a table of components; it has a column for their distributions only if one is not regplug's own."""
    rows = [(registry.spelling(one), one.component.summary, short_source(one.component.source)) for one in group]
    if all(one.origin.is_first_party for one in group):
        say_table((title, "summary", "source"), rows, folds="summary")
        return
    told = [(*row, _whence(one)) for row, one in zip(rows, group, strict=True)]
    say_table((title, "summary", "source", "from"), told, folds="summary")


def with_word(components: Sequence[Registered], word: str | None) -> Sequence[Registered]:
    """Returns the components with a word in their name, family, tags or summary.

    Raises:
        RequestError: There is none.
    """
    if word is None:
        return components
    found = [one for one in components if word.lower() in _searched(one)]
    if not found:
        hint = did_you_mean(word, sorted({name for one in components for name in (one.name, *one.component.tags)}))
        raise RequestError(f"No component has {word!r} in its name, family, tags or summary.", hint=hint)
    return found


def _searched(one: Registered) -> str:
    component = one.component
    return " ".join((one.name, component.family, *component.tags, component.summary)).lower()


def by_family(components: Sequence[Registered]) -> list[Registered]:
    """Returns components sorted by kind, then by family, and otherwise in the order given."""
    kinds = list(dict.fromkeys(one.kind for one in components))
    return sorted(components, key=lambda one: (kinds.index(one.kind), one.component.family))


def short_source(source: str) -> str:
    """Returns authors and year of a source for a table.

    >>> short_source("Foret et al. 2021, Sharpness-Aware Minimization")
    'Foret et al. 2021'
    >>> short_source("He, Zhang, Ren and Sun 2016")
    'He et al. 2016'
    >>> short_source("torch.optim.lr_scheduler.ReduceLROnPlateau, with the validation loss")
    'ReduceLROnPlateau'
    """
    dated = re.match(r"(.{1,60}?) ((?:19|20)\d\d)\b", source)
    if not dated:
        name = re.split("[,;]", source)[0]
        # Of a dotted path, the last part tells more than the first ones.
        name = name if len(name) <= _LONGEST_SOURCE or " " in name else name.rpartition(".")[2]
        return textwrap.shorten(name, _LONGEST_SOURCE, placeholder=" …")
    first, comma, _ = dated[1].partition(",")
    return f"{first} et al. {dated[2]}" if comma else dated[0]


def _whence(one: Registered) -> str:
    return f"{one.distribution} {one.version}".strip()
