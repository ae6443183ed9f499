"""Finds the installed format of a bundle's file."""

from __future__ import annotations

import re

from regplug.bundles.formats import Format
from regplug.config.spec import ComponentSpec
from regplug.errors import BundleError
from regplug.registry import build, default_registry

_PLAIN_NAME = re.compile(r"(?:(?P<distribution>[\w.-]+)/)?(?P<name>[a-z][a-z0-9_-]*)")


def installed_format(name: str) -> Format:
    """Finds an installed format; a name from a manifest never makes the host import code by path.

    Raises:
        BundleError: The name is a path.
        RequestError: There is no such format, or it needs a library that is not installed.
    """
    match = _PLAIN_NAME.fullmatch(name)
    if match is None:
        raise BundleError(
            f"The format {name!r} is the user's own code, which a bundle does not contain.",
            hint="Verify it from Python: verify_bundle(path, formats={name: the format object}).",
        )
    spec = ComponentSpec(name=match["name"], distribution=match["distribution"])
    form: Format = build(default_registry().find("format", spec), {})
    return form
