"""Runs the kit: on one component, on all of a distribution, or as parameters of a pytest test."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from regplug.api import Component
from regplug.errors import RequestError, did_you_mean
from regplug.registry import Registered, Registry, default_registry
from regplug.registry.records import normalized
from regplug.testing.bench import Network
from regplug.testing.checking import Check, CheckFailed, CouldNotRun, NotApplicable, told
from regplug.testing.report import KitReport, Result, merge
from regplug.testing.selection import checks_of
from regplug.testing.subject import Subject, find_subject

LEVEL = 1
"""Version of the kit's requirements: a higher one may be stricter, and is used only on request."""


@dataclass(frozen=True)
class Bound:
    """One check of one component, called without arguments; `conformance` returns a list of them.

    Args:
        check: The check.
        subject: The component.
        expected: Why it is expected to fail; empty where it must pass.
    """

    check: Check
    subject: Subject
    expected: str = ""

    def __call__(self) -> None:
        """Runs the check.

        Raises:
            CheckFailed: The check fails; pytest shows the reason.
            NotApplicable: The check does not apply, or fails as expected; pytest skips it.
        """
        result = self.result()
        if result.outcome == "failed":
            raise CheckFailed(result.told)
        if result.outcome != "passed":
            raise NotApplicable(result.reason)

    def __str__(self) -> str:
        return f"{self.subject.title}: {_name(self.check)}".replace(" ", "-", 1)

    @property
    def __name__(self) -> str:
        """Name that pytest shows for the parameter without `ids`."""
        return str(self)

    def result(self) -> Result:
        """Runs the check and returns its result."""
        started = time.perf_counter()
        result = self._made()
        if self.expected and result.outcome == "failed":
            reason = f"{self.expected} ({result.told})"
            result = replace(result, outcome="expected_failure", reason=reason, made=True)
        elif self.expected:
            reason = f"it was expected to fail ({self.expected}) and was {result.outcome}"
            result = replace(result, outcome="failed", reason=reason)
        return replace(result, seconds=time.perf_counter() - started)

    def _made(self) -> Result:
        become = partial(Result, component=self.subject.title, check=_name(self.check))
        try:
            self.check(self.subject)
        except NotApplicable as reason:
            return become(outcome="skipped", reason=str(reason))
        except CouldNotRun as reason:
            return become(outcome="failed", reason=str(reason), made=False, hint=reason.hint)
        except CheckFailed as reason:
            return become(outcome="failed", reason=str(reason))
        except (Exception, SystemExit) as error:
            return become(outcome="failed", reason=told(error))
        return become(outcome="passed")


def _name(check: Check) -> str:
    return str(getattr(check, "__name__", check))


def check_subject(
    subject: Subject, *, level: int = LEVEL, expected_failures: Mapping[str, str] | None = None
) -> KitReport:
    """Runs every check of one component.

    Args:
        subject: The component.
        level: Version of the kit's requirements.
        expected_failures: Check -> why it is expected to fail. One that passes is a failure.

    Raises:
        RequestError: The level is unknown, or the component has no such check.
    """
    _require_level(level)
    expected = dict(expected_failures or {})
    checks = checks_of(subject)
    names = [_name(check) for check in checks]
    unknown = sorted(set(expected) - set(names))
    if unknown:
        raise RequestError(f"No check of {subject.title} is named {unknown[0]}.", hint=did_you_mean(unknown[0], names))
    results = [Bound(check, subject, expected.get(_name(check), "")).result() for check in checks]
    return KitReport(subject=subject.title, level=level, results=tuple(results))


def _require_level(level: int) -> None:
    if not 1 <= level <= LEVEL:
        raise RequestError(f"There is no level {level} of the kit.", hint=f"This host knows the levels 1 to {LEVEL}.")


def check_component(
    kind: str,
    component: Component | Registered | str,
    *,
    level: int = LEVEL,
    expected_failures: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    networks: Mapping[str, Network] | None = None,
    only: Sequence[str] = (),
) -> KitReport:
    """Runs every check of one component; see `check_subject`.

    Args:
        kind: Its kind.
        component: Descriptor, or name as a user types it; your own code as `./file.py:Name`.
        level: Version of the kit's requirements.
        expected_failures: Check -> why it is expected to fail.
        values: Parameters to test it with, in addition to the defaults.
        registry: Where to look for it; `None` for what is installed.
        networks: Networks of your own, by a name; a regularizer is checked on these and on those of the kit.
        only: Names of networks, the kit's or your own; a regularizer is checked on no others. Empty for all.

    Raises:
        RequestError: There is no such component, level or check.
    """
    subject = find_subject(kind, component, values or {}, registry, networks, only)
    return check_subject(subject, level=level, expected_failures=expected_failures)


def conformance(
    distribution: str,
    *,
    level: int = LEVEL,
    expected_failures: Mapping[str, str] | None = None,
    values: Mapping[str, Mapping[str, Any]] | None = None,
    registry: Registry | None = None,
    networks: Mapping[str, Network] | None = None,
) -> list[Bound]:
    """Returns every check of every component of a distribution, as parameters of a test.

    >>> import pytest  # doctest: +SKIP
    >>> @pytest.mark.parametrize("check", conformance("my-regs"), ids=str)  # doctest: +SKIP
    ... def test_conformance(check): check()

    Args:
        distribution: Name of the installed distribution.
        level: Version of the kit's requirements.
        expected_failures: `component.check` -> why it is expected to fail. One that passes is a failure.
        values: Component -> parameters to test it with, in addition to the defaults.
        registry: Where to look for it; `None` for what is installed.
        networks: Networks of your own, by a name; a regularizer is checked on them as on those of the kit.

    Raises:
        RequestError: The distribution offers no component, there is no such level, check or component, or a value is
            not allowed.
    """
    _require_level(level)
    expected, given = dict(expected_failures or {}), dict(values or {})
    bound = []
    for subject in _subjects(distribution, given, registry or default_registry(), networks):
        for check in checks_of(subject):
            bound.append(Bound(check, subject, expected.pop(f"{subject.component.name}.{_name(check)}", "")))
    if expected:
        names = [f"{one.subject.component.name}.{_name(one.check)}" for one in bound]
        first = sorted(expected)[0]
        raise RequestError(f"{distribution} has no check {first}.", hint=did_you_mean(first, names))
    return bound


def _subjects(
    distribution: str,
    values: Mapping[str, Mapping[str, Any]],
    registry: Registry,
    networks: Mapping[str, Network] | None,
) -> list[Subject]:
    found = [one for one in registry.components() if normalized(one.distribution) == normalized(distribution)]
    if not found:
        raise _nothing_of(distribution, registry)
    unknown = sorted(set(values) - {one.name for one in found})
    if unknown:
        raise RequestError(
            f"{distribution} has no component {unknown[0]}.", hint=did_you_mean(unknown[0], [one.name for one in found])
        )
    subjects = [find_subject(one.kind, one, values.get(one.name, {}), registry, networks) for one in found]
    for subject in subjects:
        if subject.values:
            subject.at_defaults.params()
    return subjects


def _nothing_of(distribution: str, registry: Registry) -> RequestError:
    message = f"No plugin of a distribution {distribution!r} offers a component."
    for problem in registry.problems:
        if normalized(problem.distribution) == normalized(distribution):
            return RequestError(f"{message} {problem.message}", hint=problem.hint)
    for plugin in registry.plugins:
        if normalized(plugin.distribution) == normalized(distribution):
            status = plugin.status.replace("_", " ")
            return RequestError(f"{message} It is {status}.", hint="`regplug plugins doctor` tells of every plugin.")
    near = did_you_mean(distribution, {one.distribution for one in registry.components()})
    return RequestError(message, hint=f"{near} What is not installed is named with --plugin PATH.")


def check_distribution(
    distribution: str,
    *,
    level: int = LEVEL,
    expected_failures: Mapping[str, str] | None = None,
    values: Mapping[str, Mapping[str, Any]] | None = None,
    registry: Registry | None = None,
    networks: Mapping[str, Network] | None = None,
) -> KitReport:
    """Runs every check of every component of a distribution; see `conformance`."""
    bound = conformance(
        distribution,
        level=level,
        expected_failures=expected_failures,
        values=values,
        registry=registry,
        networks=networks,
    )
    each = [KitReport(subject=str(one), level=level, results=(one.result(),)) for one in bound]
    return merge(distribution, level, each)
