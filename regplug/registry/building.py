"""Build: the one phase that imports what a component is made of."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from regplug.config.params import make_params
from regplug.errors import ParameterError, PluginError, RegplugError, did_you_mean
from regplug.registry.faults import is_fault, remember, told
from regplug.registry.patience import patient
from regplug.registry.records import Registered
from regplug.registry.uncollected import uncollected
from regplug.registry.usercode import is_torch_optimizer, load_object

_KEYWORD_KINDS = ("model", "activation")
"""Kinds whose user code is called with keyword arguments instead of a parameters object."""

_OF_THE_HOST: Mapping[str, Mapping[str, str]] = {
    "optimizer": {"params": "The run gives it the model's.", "lr": "Give the learning rate as --lr."}
}
"""Keyword arguments that the host gives to user code of a kind, with what a user does instead."""


def load_target(registered: Registered) -> Any:
    """Imports and returns what a component's target names.

    Raises:
        PluginError: The import failed; names plugin and distribution.
        RequestError: The user's own code could not be imported.
    """
    if registered.given is not None:
        return registered.given
    remember(registered, None)  # so that a failure of the import is known for its own, too
    code = registered.component.target
    found = load_object(code) if registered.is_user_code else _import_target(registered)
    remember(registered, found)
    return found


def _import_target(registered: Registered) -> Any:
    module, _, attributes = registered.component.target.partition(":")
    try:
        with uncollected(), patient():
            found: Any = importlib.import_module(module)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except BaseException as error:
        if not is_fault(error):
            raise
        raise PluginError(
            f"The {registered.kind} {registered.name} could not be loaded: {registered.origin} names "
            f"{registered.component.target}, and that {told(error)}",
            hint=f"Repair or reinstall {registered.distribution}.",
        ) from error
    return found


def read_params(registered: Registered, values: Mapping[str, Any]) -> Any:
    """Returns a component's parameters; for a user's own model or activation, the keyword arguments as a dict.

    Raises:
        ParameterError: Names are unknown or values are not allowed.
    """
    if takes_keywords(registered):
        return _read_keywords(registered, values)
    return make_params(registered.component, values, origin=registered.distribution)


def takes_keywords(registered: Registered) -> bool:
    """Returns whether it is code that is called as `target(**values)`: a model, an activation or a torch optimizer."""
    if not registered.is_user_code:
        return False
    if registered.kind == "optimizer":
        return is_torch_optimizer(load_target(registered))
    return registered.kind in _KEYWORD_KINDS


def build(registered: Registered, values: Mapping[str, Any], *args: Any) -> Any:
    """Returns the built component.

    A plugin's target is called as `target(params, *args)`, and the user's own model or activation as
    `target(**values)`, without `args`.

    Args:
        registered: What to build.
        values: Its parameters by name; those left out have their defaults.
        args: What the kind's target takes after the parameters; see `regplug.api`.

    Raises:
        ParameterError: Names are unknown or values are not allowed.
        PluginError: The target could not be imported, or raised.
    """
    return construct(registered, read_params(registered, values), values, *args)


def construct(registered: Registered, params: Any, values: Mapping[str, Any], *args: Any) -> Any:
    """Returns the component built of parameters that were read already; see `build`.

    Args:
        registered: What to build.
        params: What `read_params` returned.
        values: The parameters as they were given, for messages.
        args: What the kind's target takes after the parameters.

    Raises:
        PluginError: The target could not be imported, or raised.
    """
    target = load_target(registered)
    try:
        return target(**params) if takes_keywords(registered) else target(params, *args)
    except RegplugError:
        raise
    except BaseException as error:
        if not is_fault(error):
            raise
        raise PluginError(
            f"The {registered.kind} {registered.name} ({_whose(registered)}) {told(error, 'when it was built')}",
            hint="Its parameters were: " + (", ".join(f"{k}={v!r}" for k, v in values.items()) or "the defaults") + ".",
        ) from error


def _whose(registered: Registered) -> str:
    return registered.component.target if registered.is_user_code else str(registered.origin)


def _read_keywords(registered: Registered, values: Mapping[str, Any]) -> dict[str, Any]:
    code = registered.component.target
    try:
        parameters = inspect.signature(load_target(registered)).parameters
    except ValueError:
        return dict(values)  # written in C, without a signature: its own call will tell
    hosts = _OF_THE_HOST.get(registered.kind, {})
    ours = [name for name, one in parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    names = [name for name in ours if name not in hosts]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    problems = [f"{name} cannot be given here. {hosts[name]}" for name in values if name in hosts]
    unknown = [name for name in values if name not in names and name not in hosts and not takes_any]
    problems += [f"{name} is unknown. {did_you_mean(name, names)}" for name in unknown]
    problems += [
        f"{name} must be given."
        for name in names
        if name not in values and parameters[name].default is inspect.Parameter.empty
    ]
    if problems:
        raise ParameterError(f"{code}: " + "\n  ".join(problems), hint=f"Write {code}:name=value.")
    return dict(values)
