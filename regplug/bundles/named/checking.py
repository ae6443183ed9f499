"""Checks of a file with several inputs or outputs: those of other bundles, for each output at every setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.bounds import SEEDS, Perturbed
from regplug.bundles.calibration.answers import graph_outputs
from regplug.bundles.calibration.checks import added_coverage, added_output
from regplug.bundles.cases import Reference
from regplug.bundles.clean_process import CleanProcess
from regplug.bundles.decisions import Decision, decision_of
from regplug.bundles.differences import worst_error
from regplug.bundles.formats import Array, Format, Loss, NamedRun, RunAll
from regplug.bundles.graph import check_graph
from regplug.bundles.losses import widened
from regplug.bundles.named.live import Joined, joined_real, layers_of
from regplug.bundles.named.samples import Setting
from regplug.bundles.named.signature import Signature, Sizes, packed_outputs, packed_run
from regplug.bundles.numbers import LEVELS, cannot_open, check_largest, check_run
from regplug.bundles.report import Check, at_most, prefixed
from regplug.bundles.schema import output_kind
from regplug.bundles.splitting import open_named_split
from regplug.bundles.stochastic.checks import check_noise, judge_live
from regplug.bundles.stochastic.record import Draws
from regplug.bundles.test_set import TestData, check_test


@dataclass(frozen=True, kw_only=True)
class TestRows:
    """The test rows of a bundle.

    Args:
        data: Packed rows with the first output.
        sizes: The sizes of the symbolic axes.
    """

    __test__ = False  # not a test, despite its name

    data: TestData
    sizes: Sizes


def check_named_file(
    form: Format,
    path: Path,
    manifest: dict[str, Any],
    signature: Signature,
    settings: Sequence[Setting],
    draws: Draws | None = None,
    test: TestRows | None = None,
) -> list[Check]:
    """Checks a saved file: its graph, and each output at every setting, with optimisation on and off.

    The outputs of a file with live dropout are those with its noise off; its noise is then checked for all outputs
    together.

    Args:
        form: Opens the file.
        path: The file.
        manifest: The bundle's manifest.
        signature: Its inputs, outputs and axes.
        settings: The model's outputs.
        draws: The model's outputs with live dropout, side by side.
        test: The test rows, on which the first output of the optimised file is evaluated.
    """
    checks = check_graph(form, path, manifest)
    for level, optimised in LEVELS.items():
        try:
            run = open_named_split(form, path, manifest, optimised=optimised)
            most = form.largest_batch(path)
            noise = None if draws is None else form.open_named_noise(path, manifest, optimised=optimised)
        except Exception as error:
            checks.append(cannot_open(level, error))
            continue
        still = run if noise is None else noise.off
        file = _Opened(run=still, level=level, loss=form.loss, manifest=manifest, signature=signature)
        found = file.checks(settings, most, test if optimised else None)
        if draws is not None and noise is not None:
            joined = Joined(signature=signature, sizes=settings[0].sizes)
            live = check_noise(joined.run(run), joined.noise(noise), level, draws, layers_of(manifest))
            found = [*prefixed("noise_off", found), *live]
        checks += found
    return checks


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """An opened file and what is known about it."""

    run: NamedRun
    level: str
    loss: Loss | None
    manifest: dict[str, Any]
    signature: Signature

    @property
    def _first(self) -> str:
        return self.signature.outputs[0].name

    @property
    def _decision(self) -> Decision | None:
        kind = output_kind(self.manifest)
        return decision_of(self.manifest["task"], kind) if kind else None

    def _with_added(self, sizes: Sizes) -> RunAll:
        """Returns a function to the first output and the one that a calibration adds."""
        names = [self._first, graph_outputs(self.manifest)[-1]["name"]]
        return packed_outputs(self.run, self.signature, sizes, names)

    def checks(self, settings: Sequence[Setting], most: int | None, test: TestRows | None) -> list[Check]:
        """Returns all checks of outputs.

        Args:
            settings: The model's outputs.
            most: The largest batch; `None` if there is none.
            test: The test rows.
        """
        checks = [check for setting in settings for check in self.at(setting)]
        checks += self.at_largest(most, settings[0]) if most is not None else []
        return [*checks, *(self.on(test) if test is not None else [])]

    def at(self, setting: Setting) -> list[Check]:
        """Checks each output at one setting."""
        checks = []
        label = f"{self.level}.{setting.label}" if setting.label else self.level
        for part in self.signature.outputs:
            one = packed_run(self.run, self.signature, setting.sizes, part.name)
            known = widened(setting.known[part.name], self.loss)
            decision = self._decision if part.name == self._first else None
            found = check_run(one, label, known, decision=decision, optimised=LEVELS[self.level])
            checks += prefixed(part.name, found)
        added = partial(self._with_added, setting.sizes)
        return [*checks, *added_output(added, label, self.loss, setting.known[self._first], self.manifest)]

    def at_largest(self, most: int, setting: Setting) -> list[Check]:
        """Checks each output in the largest batch."""
        checks = []
        for part in self.signature.outputs:
            one = packed_run(self.run, self.signature, setting.sizes, part.name)
            checks += prefixed(part.name, [check_largest(one, self.level, setting.known[part.name], most)])
        return checks

    def on(self, test: TestRows) -> list[Check]:
        """Evaluates the first output on the test rows."""
        one = packed_run(self.run, self.signature, test.sizes, self._first)
        checks = check_test(one, test.data, decision=self._decision, loss=self.loss)
        added = added_coverage(partial(self._with_added, test.sizes), test.data, self.manifest)
        return [*prefixed(self._first, checks), *added]


def clean_named_check(
    process: CleanProcess, form: Format, path: Path, signature: Signature, setting: Setting, manifest: Mapping[str, Any]
) -> Check:
    """Checks the outputs of a process without torch for the real rows.

    Args:
        process: The process, which was started with the file.
        form: The file's format.
        path: The file.
        signature: The bundle's outputs.
        setting: The sizes of the example.
        manifest: The bundle's manifest.
    """
    if layers_of(manifest):
        real, joined = joined_real(setting), Joined(signature=signature, sizes=setting.sizes)
        here = joined.run(open_named_split(form, path, manifest, optimised=True))(real.inputs)
        return process.judge(lambda outputs: judge_live(outputs, here, real))
    known = {part.name: widened(setting.known[part.name], form.loss)[0] for part in signature.outputs}
    added = [part["shape"][1:] for part in graph_outputs(manifest)[len(signature.outputs) :]]
    return process.judge(partial(_same, known=known, num_added=sum(map(math.prod, added))))


def _same(outputs: Array, *, known: Mapping[str, Reference], num_added: int) -> Check:
    ends = np.cumsum([one.outputs.shape[1] for one in known.values()])
    if outputs.ndim != 2 or outputs.shape[1] != ends[-1] + num_added:
        return at_most("clean_process", float("inf"), 1.0, f"its outputs have shape {outputs.shape}")
    # What a calibration adds comes last; it is compared with the first output elsewhere.
    parts = np.split(outputs, ends, axis=1)[: len(known)]
    shares = [
        worst_error(got, one.outputs) / (one.tolerance or 1e-30) for got, one in zip(parts, known.values(), strict=True)
    ]
    return at_most("clean_process", max(shares), 1.0, "runs where torch is not imported; error / tolerance")


def opened_named(
    forms: Mapping[str, Format], path: Path, manifest: dict[str, Any], signature: Signature, sizes: Sizes, output: str
) -> list[Perturbed]:
    """Opens each file whose operators' results can be changed in their last bits, for one output.

    None of a format with fewer bits, and none with live dropout.
    """
    found = []
    for name, form in forms.items():
        if form.loss is not None or layers_of(manifest):
            continue
        opened = partial(form.open_named, path / name, manifest, optimised=False)
        try:
            runs = [packed_run(run, signature, sizes, output) for run in (opened(), *(opened(seed=s) for s in SEEDS))]
        except Exception:  # noqa: S112 - the checks of the file report what is wrong with it
            continue
        found.append(Perturbed(plain=runs[0], moved=runs[1:]))
    return found
