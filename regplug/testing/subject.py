"""The component under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from regplug.api import Component, Regularizer
from regplug.config.params import ParameterInfo, describe_params
from regplug.config.spec import ComponentSpec
from regplug.errors import MissingExtraError, RequestError, did_you_mean
from regplug.registry import Origin, Registered, Registry, build, default_registry, load_target, read_params
from regplug.testing.checking import CouldNotRun, NotApplicable, attempting

if TYPE_CHECKING:
    from regplug.testing.bench import Network

_Descriptor = TypeVar("_Descriptor", bound=Component)
HANDED_OVER = Origin(distribution="yours", version="", entry="", module="", location="")
"""Where a descriptor comes from that no plugin has offered."""


@dataclass(frozen=True)
class Subject:
    """One component with the parameters that it is tested with.

    Args:
        registered: The component.
        values: Parameters that differ from the defaults.
        felt: Those of its descriptor's `felt.values`; `values` come before them.
        registry: Where companions, such as what it requires, and export formats are found.
        networks: Networks of the author's own, by a name, on which it is checked as on those of the kit.
        only: Names of networks, the kit's or the author's; it is checked on no others. Empty for all.
        cache: What one check has made and another can use.
    """

    registered: Registered
    values: Mapping[str, Any] = field(default_factory=dict)
    felt: Mapping[str, Any] = field(default_factory=dict)
    registry: Registry = field(default_factory=default_registry)
    networks: Mapping[str, Network] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    cache: dict[str, Any] = field(default_factory=dict)

    @property
    def component(self) -> Component:
        """The descriptor."""
        return self.registered.component

    def descriptor(self, kind: type[_Descriptor]) -> _Descriptor:
        """The descriptor, of the kind that the caller's checks are for."""
        return cast(_Descriptor, self.component)

    @property
    def title(self) -> str:
        """Kind and name."""
        return f"{self.component.kind} {self.component.name}"

    @property
    def fields(self) -> tuple[ParameterInfo, ...]:
        """What its parameters say of themselves."""
        return describe_params(self.component.params)

    @property
    def stackable(self) -> tuple[ParameterInfo, ...]:
        """Its parameters that may differ between the runs of one stack."""
        return tuple(info for info in self.fields if info.stackable)

    @property
    def at_defaults(self) -> Subject:
        """The same component without its felt values."""
        return replace(self, felt={}, cache={})

    @property
    def target(self) -> Any:
        """What it is built from."""
        return load_target(self.registered)

    def params(self, **values: Any) -> Any:
        """Its parameters, with these values for some."""
        return read_params(self.registered, {**self.felt, **self.values, **values})

    def build(self, *args: Any, **values: Any) -> Any:
        """A new one, with these values for some parameters.

        Raises:
            CheckFailed: It cannot be built.
        """
        with attempting(f"building it with {values or 'its defaults'}"):
            return self.make(*args, **values)

    def make(self, *args: Any, **values: Any) -> Any:
        """As `build`, and what it raises is left as it is.

        Raises:
            CouldNotRun: It needs parameters that were not given.
            NotApplicable: It needs a library that is installed on request.
        """
        given = {**self.felt, **self.values, **values}
        if missing := [info for info in self.fields if info.needed and info.name not in given]:
            names = " and ".join(info.name for info in missing)
            raise CouldNotRun(f"{names} must be given", hint=self.how_to_give(missing))
        try:
            return build(self.registered, given, *args)
        except MissingExtraError as error:
            raise NotApplicable(error.message) from error

    def how_to_give(self, infos: Sequence[ParameterInfo]) -> str:
        """How a user gives these parameters to the kit, at the command line and in a test."""
        name = self.component.name
        examples = {info.name: info.needed.example if info.needed else "..." for info in infos}
        typed = ",".join(f"{key}={value}" for key, value in examples.items())
        return f"Add --with {name}:{typed}, or in a test values={ {name: examples} }."


def find_subject(
    kind: str,
    component: Component | Registered | str,
    values: Mapping[str, Any],
    registry: Registry | None = None,
    networks: Mapping[str, Network] | None = None,
    only: Sequence[str] = (),
) -> Subject:
    """The component that a descriptor or a name means.

    Raises:
        UnknownComponentError: No component of that kind has the name.
        RequestError: `only` names a network that does not exist.
    """
    if only:
        _require_networks(only, networks or {})
    registry = registry or default_registry()
    if isinstance(component, str):
        component = registry.find(kind, component)
    elif isinstance(component, Component):
        component = Registered(component=component, origin=HANDED_OVER)
    return Subject(
        registered=component,
        values=dict(values),
        felt=felt_values(component.component),
        registry=registry,
        networks=dict(networks or {}),
        only=tuple(only),
    )


def _require_networks(names: Sequence[str], own: Mapping[str, Network]) -> None:
    from regplug.testing.bench import NETWORKS  # imports torch, which checks of a descriptor do without

    for name in names:
        if name not in NETWORKS and name not in own:
            raise RequestError(f"There is no network {name}.", hint=did_you_mean(name, [*NETWORKS, *own]))


def felt_values(component: Component) -> Mapping[str, Any]:
    """The parameters at which a short training feels a regularizer; see `regplug.api.Felt`."""
    text = component.felt.values if isinstance(component, Regularizer) else ""
    return ComponentSpec.parse(f"{component.name}:{text}").values if text else {}
