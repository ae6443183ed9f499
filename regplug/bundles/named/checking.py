"""Checks of a file with several inputs or outputs: those of other bundles, for each output at every setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.bounds import SEEDS, Perturbed
from regplug.bundles.clean_process import CleanProcess
from regplug.bundles.decisions import Decision, decision_of
from regplug.bundles.formats import Array, Format, NamedRun
from regplug.bundles.graph import check_graph
from regplug.bundles.named.samples import Setting
from regplug.bundles.named.signature import Signature, Sizes, packed_run
from regplug.bundles.numbers import LEVELS, cannot_open, check_largest, check_run, worst_error
from regplug.bundles.report import Check, at_most, prefixed
from regplug.bundles.splitting import open_named_split


def check_named_file(
    form: Format, path: Path, manifest: dict[str, Any], signature: Signature, settings: Sequence[Setting]
) -> list[Check]:
    """Checks a saved file: its graph, and each output at every setting, with optimisation on and off.

    Args:
        form: Opens the file.
        path: The file.
        manifest: The bundle's manifest.
        signature: Its inputs, outputs and axes.
        settings: The model's outputs.
    """
    checks = check_graph(form, path, manifest)
    for level, optimised in LEVELS.items():
        try:
            run = open_named_split(form, path, manifest, optimised=optimised)
            most = form.largest_batch(path)
        except Exception as error:
            checks.append(cannot_open(level, error))
            continue
        for setting in settings:
            checks += _check_setting(run, level, manifest, signature, setting)
        if most is not None:
            checks += _check_largest(run, level, most, signature, settings[0])
    return checks


def _check_largest(run: NamedRun, level: str, most: int, signature: Signature, setting: Setting) -> list[Check]:
    checks = []
    for part in signature.outputs:
        one = packed_run(run, signature, setting.sizes, part.name)
        checks += prefixed(part.name, [check_largest(one, level, setting.known[part.name], most)])
    return checks


def _check_setting(
    run: NamedRun, level: str, manifest: dict[str, Any], signature: Signature, setting: Setting
) -> list[Check]:
    checks = []
    at = f"{level}.{setting.label}" if setting.label else level
    for place, part in enumerate(signature.outputs):
        decision = _decision(manifest) if place == 0 else None
        one = packed_run(run, signature, setting.sizes, part.name)
        found = check_run(one, at, setting.known[part.name], decision=decision)
        checks += prefixed(part.name, found)
    return checks


def _decision(manifest: dict[str, Any]) -> Decision | None:
    return decision_of(manifest["task"], "logits") if manifest["task"] else None


def clean_named_check(process: CleanProcess, signature: Signature, setting: Setting) -> Check:
    """Checks the outputs of a process without torch for the real rows.

    Args:
        process: The process, which was started with the file.
        signature: The bundle's outputs.
        setting: The sizes of the example.
    """
    return process.judge(partial(_same, signature=signature, setting=setting))


def _same(outputs: Array, *, signature: Signature, setting: Setting) -> Check:
    ends = np.cumsum([part.width(setting.at) for part in signature.outputs])
    if outputs.ndim != 2 or outputs.shape[1] != ends[-1]:
        return at_most("clean_process", float("inf"), 1.0, f"its outputs have shape {outputs.shape}")
    parts = np.split(outputs, ends[:-1], axis=1)
    shares = [
        worst_error(got, setting.known[part.name][0].outputs) / (setting.known[part.name][0].tolerance or 1e-30)
        for got, part in zip(parts, signature.outputs, strict=True)
    ]
    return at_most("clean_process", max(shares), 1.0, "runs where torch is not imported; error / tolerance")


def opened_named(
    forms: Mapping[str, Format], path: Path, manifest: dict[str, Any], signature: Signature, sizes: Sizes, output: str
) -> list[Perturbed]:
    """Opens each file that can be opened with the last bits of its operators' results changed, for one output."""
    found = []
    for name, form in forms.items():
        opened = partial(form.open_named, path / name, manifest, optimised=False)
        try:
            runs = [packed_run(run, signature, sizes, output) for run in (opened(), *(opened(seed=s) for s in SEEDS))]
        except Exception:  # noqa: S112 - the checks of the file report what is wrong with it
            continue
        found.append(Perturbed(plain=runs[0], moved=runs[1:]))
    return found
