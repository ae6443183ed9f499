"""Collects what a loaded plugin offers. Each hook implementation is called alone, inside its own try."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import itertools
import re
import sys
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pluggy

from regplug import hookspecs
from regplug.api import KINDS, PROJECT, Component, Parameters
from regplug.config.spec import is_component_name
from regplug.errors import did_you_mean
from regplug.hookspecs import HOOK_KINDS
from regplug.registry.faults import is_fault
from regplug.registry.loading import broken
from regplug.registry.patience import patient
from regplug.registry.records import Origin, Problem, ProblemKind, Registered

MOST_OFFERED = 10_000
"""Most descriptors that one hook may yield: more than any plugin has, so that an endless generator is stopped."""

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(kw_only=True)
class Collection:
    """What a plugin offers and what is wrong with it.

    Args:
        origin: The plugin.
        earlier: What other plugins of its distribution offer.
        components: What it offers.
        problems: What is wrong with it.
    """

    origin: Origin
    earlier: Sequence[Registered]
    components: list[Registered] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def complain(self, what: ProblemKind, message: str, hint: str = "") -> None:
        """Records a problem."""
        self.problems.append(
            Problem(
                distribution=self.origin.distribution,
                entry=self.origin.entry,
                what=what,
                message=f"{self.origin}: {message}",
                hint=hint,
            )
        )


def collect(origin: Origin, plugin: object, earlier: Sequence[Registered] = ()) -> Collection:
    """Returns what a plugin offers.

    Args:
        origin: Where the plugin comes from.
        plugin: The imported module or object.
        earlier: What the plugins of its distribution before it offer.

    Raises:
        PluginError: The plugin is at fault and `REGPLUG_STRICT` is set.
    """
    result = Collection(origin=origin, earlier=earlier)
    for hook_name, implementation in _implementations(plugin, result):
        items: list[object] = []
        try:
            with patient(), contextlib.redirect_stdout(sys.stderr):
                # Descriptors yielded before an error are kept.
                items.extend(itertools.islice(_offers(implementation.function()), MOST_OFFERED + 1))
        except BaseException as error:
            if not is_fault(error):
                raise
            result.problems.append(broken(origin, f"raised in its hook {hook_name}", error))
        if len(items) > MOST_OFFERED:
            result.complain(
                "invalid", f"{hook_name} gave more than {MOST_OFFERED:,} descriptors.", "Check that it ends."
            )
        else:
            _add_all(items, hook_name, result)
    return result


def _add_all(items: Iterable[object], hook_name: str, result: Collection) -> None:
    try:
        for item in items:
            _add(item, HOOK_KINDS[hook_name], hook_name, result)
    except BaseException as error:
        if not is_fault(error):
            raise
        result.problems.append(broken(result.origin, f"raised while the items of {hook_name} were read", error))


def _offers(offered: object) -> Iterable[object]:
    if isinstance(offered, Component):
        raise TypeError(f"the hook returned one {type(offered).__name__}; it must return or yield several")
    if offered is None:
        raise TypeError("the hook returned nothing; it must return or yield descriptors")
    return typing.cast(Iterable[object], offered)


def _implementations(plugin: object, result: Collection) -> Iterator[tuple[str, pluggy.HookImpl]]:
    """The hook implementations of one plugin, which is alone in its manager."""
    manager = _manager()
    try:
        manager.register(plugin)
    except (pluggy.PluginValidationError, ValueError) as error:
        _manager.cache_clear()  # one that fails half way leaves a trace
        result.complain("invalid", str(error), "A hook takes no arguments.")
        return
    callers = sorted(manager.get_hookcallers(plugin) or [], key=lambda caller: caller.name)
    found = [(caller.name, caller.has_spec(), each) for caller in callers for each in caller.get_hookimpls()]
    manager.unregister(plugin)
    if not found:
        result.complain("invalid", "it implements no hook.", _forgotten_marker(plugin))
    for name, is_known, implementation in found:
        if not is_known:
            _complain_of_unknown(name, implementation, result)
        elif implementation.hookwrapper or implementation.wrapper:
            result.complain("invalid", f"{name} is a wrapper.", "Return descriptors from a plain @hookimpl.")
        else:
            yield name, implementation


@functools.cache
def _manager() -> pluggy.PluginManager:
    """The manager that each plugin has for itself for a moment; to read the specifications takes a millisecond."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _forgotten_marker(plugin: object) -> str:
    near = [name for name in HOOK_KINDS if hasattr(plugin, name)]
    known = ", ".join(HOOK_KINDS)
    return f"Write @regplug.api.hookimpl above {', '.join(near)}." if near else f"Hooks: {known}."


def _complain_of_unknown(name: str, implementation: pluggy.HookImpl, result: Collection) -> None:
    if not implementation.optionalhook:
        near = difflib.get_close_matches(name, HOOK_KINDS, n=1)  # all share a prefix: the second nearest is no guess
        result.complain("unknown_hook", f"{name} is not a regplug hook.", did_you_mean(name, near or HOOK_KINDS))


def _add(item: object, kind: str, hook_name: str, result: Collection) -> None:
    faults = list(_faults(item, kind, hook_name))
    for message, hint in faults:
        result.complain("invalid", message, hint)
    if faults or not isinstance(item, Component):
        return
    offered = Registered(component=item, origin=result.origin)
    rivals = (other for other in (*result.earlier, *result.components) if other.component.name == item.name)
    if any((kind, offered.full_name) == (other.kind, other.full_name) for other in rivals):
        result.complain("duplicate", f"its distribution offers the {kind} {item.name} twice; the first counts.")
        return
    result.components.append(offered)


def _faults(item: object, kind: str, hook_name: str) -> Iterator[tuple[str, str]]:
    """Returns what is wrong with a descriptor, and what to do about it."""
    if not isinstance(item, Component):
        yield (
            f"{hook_name} gave an object of type {type(item).__name__}.",
            f"Give regplug.api.{KINDS[kind].__name__} objects.",
        )
        return
    if not isinstance(item, KINDS[kind]):
        hook = next((name for name, other in HOOK_KINDS.items() if other == item.kind), "")
        yield f"{hook_name} gave the {item.kind} {item.name}.", f"Give it from {hook}." if hook else ""
        return
    where = f"the {kind} {item.name!r}"
    if not isinstance(item.name, str) or not is_component_name(item.name):
        yield f"{where} has no valid name.", "Use lower case letters, digits and underscores, a letter first."
    if not isinstance(item.target, str) or not _TARGET.fullmatch(item.target):
        yield f"{where} has the target {item.target!r}.", "Write it as text, package.module:attribute."
    yield from _field_faults(item, where)
    yield from _params_faults(item.params, where)


def _field_faults(item: Component, where: str) -> Iterator[tuple[str, str]]:
    for entry in dataclasses.fields(item):
        value = getattr(item, entry.name)
        is_left_out = value is None and entry.default is None
        if str(entry.type).startswith("tuple") and not (isinstance(value, tuple) or is_left_out):
            yield f"{where} has {entry.name}={value!r}.", f"Write a tuple: {entry.name}=({value!r},)."


def _params_faults(params: object, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(params, type) or not dataclasses.is_dataclass(params):
        yield f"{where} has params={params!r}, not a dataclass.", "Give a frozen dataclass: the class, not an instance."
        return
    if not (issubclass(params, Parameters) or getattr(params, "__dataclass_params__").frozen):  # noqa: B009  # not in the stubs
        yield f"{where}: {params.__name__} is not frozen.", "Write @dataclass(frozen=True), or derive from Parameters."
    own = vars(params)
    if own.get("__annotations__") and "__dataclass_fields__" not in own:
        yield (
            f"{where}: {params.__name__} derives from a dataclass and adds fields, but is none itself.",
            "Write @dataclass(frozen=True) above it, or derive from Parameters.",
        )
    missing = dataclasses.MISSING
    for entry in dataclasses.fields(params):
        if entry.default is missing and entry.default_factory is missing:
            yield f"{where}: {params.__name__}.{entry.name} has no default.", "Give each parameter a default."
