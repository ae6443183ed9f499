"""Where normalizations stand, and on which weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from regplug.sites import Site, Sites

Shape = tuple[int, ...]


def put_normalizations(
    sites: Sites,
    at: str | Sequence[str],
    make: Callable[[str, Shape], nn.Module],
    default: Callable[[Sites], list[Site]] = Sites.activations,
) -> None:
    """Puts a layer behind the modules that `at` names; without any, before each default one.

    Args:
        sites: The sites.
        at: Globs of module names.
        make: Makes the layer for what passes there: called with the module's name and the shape, the batch first.
        default: The sites before which layers go.
    """
    if at:
        for site in sites.matching(at):
            sites.after(site, make(site.name, site.output_shape))
        return
    for site in sites.chosen((), default):
        sites.before(site, make(site.name, site.input_shape))


def weights_of(sites: Sites, at: str | Sequence[str]) -> list[Site]:
    """The modules with a weight that `at` names, or all of them; a module that is called twice is there once."""
    return [site for site in sites.chosen(at, Sites.weighted) if site.call == 0]
