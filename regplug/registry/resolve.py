"""Resolves a name to one of the collected components."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

from regplug.api import KINDS, Dataset
from regplug.config.spec import ComponentSpec
from regplug.errors import AmbiguousComponentError, RequestError, UnknownComponentError, did_you_mean
from regplug.registry.data_paths import find_reader, is_folder
from regplug.registry.records import Origin, PluginRecord, Problem, Registered, normalized
from regplug.registry.switches import Pins
from regplug.registry.usercode import describe_object, load_object

_NEVER_NAMED = ("observer",)
"""Kinds whose components are all used, so that two with one name do not conflict."""


@dataclass(frozen=True)
class Registry:
    """All components that are installed, and all that is wrong with them.

    Args:
        collected: Components in the order in which they were collected.
        plugins: Each entry point and what became of it.
        faults: What went wrong on the way here.
        pins: Whose component a name means that several third parties offer.
    """

    collected: tuple[Registered, ...]
    plugins: tuple[PluginRecord, ...]
    faults: tuple[Problem, ...] = ()
    pins: Pins = field(default_factory=dict)

    def components(self, kind: str | None = None) -> tuple[Registered, ...]:
        """Returns all components, or those of one kind, by kind, name and distribution."""
        order = list(KINDS)
        chosen = [one for one in self.collected if kind in (None, one.kind)]
        return tuple(sorted(chosen, key=lambda one: (order.index(one.kind), one.name, normalized(one.distribution))))

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong: broken plugins, and names that more than one distribution offers."""
        return (*self.faults, *_name_problems(self.collected, self.pins), *_pin_problems(self))

    def find(self, kind: str, spec: ComponentSpec | str) -> Registered:
        """Returns the component that a user means.

        The first-party component has its short name for itself; of third parties' components, one that is alone with
        its name is found by it, and so is the one that a pin names. `dist/name` finds any. The user's own code is
        imported here.

        Raises:
            UnknownComponentError: No component of that kind has the name.
            AmbiguousComponentError: Several third parties offer it.
            RequestError: The text cannot be read, or the user's own code cannot be imported.
        """
        spec = ComponentSpec.parse(spec) if isinstance(spec, str) else spec
        if spec.code is not None:
            return _user_code(kind, spec)
        found = self._rivals(kind, spec)
        if len(found) > 1:
            pin = self.pins.get((kind, spec.name))
            found = [one for one in found if pin is not None and _is_from(one, pin)] or found
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousComponentError(
                f"The {kind} {spec.name} is offered by {' and '.join(one.distribution for one in found)}.",
                hint=f"Write {' or '.join(one.full_name for one in found)}, or pin one in regplug.toml.",
            )
        raise self._unknown(kind, spec)

    def locate(self, kind: str, spec: ComponentSpec) -> ComponentSpec:
        """Returns the component that reads a file or folder of data where its path was written, else `spec` itself.

        A component's name counts before a folder's.

        Raises:
            DataError: There is no such file or folder, or no dataset reads it.
        """
        if kind != "dataset" or spec.code is not None:
            return spec
        wanted = spec.path or (f"{spec.distribution}/{spec.name}" if spec.distribution else spec.name)
        if spec.path is None and (self._rivals(kind, spec) or not is_folder(wanted)):
            return spec
        reader, parameter = find_reader(wanted, self.components(kind))
        name = ComponentSpec.parse(self.spelling(reader))
        return name.with_values({parameter: wanted, **spec.values})

    def settings_of(self, dataset: ComponentSpec) -> tuple[str, ...]:
        """Returns the settings of a run that suit a dataset; see `regplug.api.Dataset`.

        There are none for the user's own code, or for a dataset that cannot be found, which is reported later.
        """
        if dataset.code is not None:
            return ()
        try:
            found = self.find("dataset", self.locate("dataset", dataset))
        except RequestError:
            return ()
        return cast(Dataset, found.component).settings

    def spelling(self, registered: Registered) -> str:
        """Returns the shortest text that finds a component, pinned or not; for the user's own code, the code."""
        rivals = self._rivals(registered.kind, ComponentSpec(name=registered.name))
        is_short = not registered.is_user_code and rivals == [registered]
        return registered.name if is_short else registered.full_name

    def _rivals(self, kind: str, spec: ComponentSpec) -> list[Registered]:
        """Returns the candidates for a name: the first-party component, or all third-party components of that name."""
        named = self._by_name.get((kind, spec.name), [])
        found = [one for one in named if _is_from(one, spec.distribution)]
        return [one for one in found if one.origin.is_first_party] or found

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], list[Registered]]:
        found: dict[tuple[str, str], list[Registered]] = {}
        for one in self.components():
            found.setdefault((one.kind, one.name), []).append(one)
        return found

    def _unknown(self, kind: str, spec: ComponentSpec) -> UnknownComponentError:
        if kind not in KINDS:
            raise RequestError(f"There are no components of kind {kind!r}.", hint=did_you_mean(kind, KINDS))
        wanted = f"{spec.distribution}/{spec.name}" if spec.distribution else spec.name
        hints = [did_you_mean(wanted, self._spellings(kind, spec), all_with=f"regplug plugins list --kind {kind}")]
        hints += [
            f"That is the name of a component of kind {other.kind}."
            for other in self.components()
            if other.name == spec.name
        ][:1]
        failed = [problem.message for problem in self.faults if problem.is_fault]
        if failed:
            hints += ["These plugins failed to load; it may come from one of them:", *failed]
        return UnknownComponentError(f"No {kind} is named {wanted!r}.", hint="\n".join(hints))

    def _spellings(self, kind: str, spec: ComponentSpec) -> Iterator[str]:
        for one in self.components(kind):
            yield one.full_name if spec.distribution else one.name


def _is_from(registered: Registered, distribution: str | None) -> bool:
    return distribution is None or normalized(registered.distribution) == normalized(distribution)


def _pin_problems(registry: Registry) -> Iterator[Problem]:
    for (kind, name), distribution in registry.pins.items():
        offering = [one.distribution for one in registry.components(kind) if one.name == name]
        if normalized(distribution) not in map(normalized, offering):
            yield Problem(
                distribution="",
                entry="",
                what="unknown_switch",
                message=f"The pin of the {kind} {name} names {distribution}, which offers none.",
                hint=did_you_mean(distribution, offering),
            )


def _name_problems(collected: Iterable[Registered], pins: Pins) -> Iterator[Problem]:
    by_name: dict[tuple[str, str], list[Registered]] = {}
    for one in collected:
        by_name.setdefault((one.kind, one.name), []).append(one)
    for (kind, name), rivals in by_name.items():
        if kind in _NEVER_NAMED:
            continue
        third_parties = [one for one in rivals if not one.origin.is_first_party]
        if len(third_parties) < len(rivals):
            yield from (_shadowed(one) for one in third_parties)
        elif len(rivals) > 1 and not any(_is_from(one, pins.get((kind, name), "")) for one in rivals):
            yield Problem(
                distribution=rivals[0].distribution,
                entry=rivals[0].entry,
                what="ambiguous",
                message=f"The {kind} {name} is offered by {' and '.join(one.distribution for one in rivals)}.",
                hint=f"Write {' or '.join(one.full_name for one in rivals)}.",
            )


def _shadowed(registered: Registered) -> Problem:
    return Problem(
        distribution=registered.distribution,
        entry=registered.entry,
        what="shadowed",
        message=f"{registered.origin} offers the {registered.kind} {registered.name}, a name that regplug reserves.",
        hint=f"Write {registered.full_name} to use it.",
    )


def _user_code(kind: str, spec: ComponentSpec) -> Registered:
    if kind not in KINDS:
        raise RequestError(f"There are no components of kind {kind!r}.", hint=did_you_mean(kind, KINDS))
    code = str(spec.code)
    target = load_object(code)
    try:
        location = str(Path(inspect.getfile(target)).parent)
    except (TypeError, OSError):
        location = ""
    origin = Origin(distribution="", version="", entry="", module=code, location=location)
    return Registered(component=describe_object(kind, code, spec.name, target), origin=origin, is_user_code=True)
