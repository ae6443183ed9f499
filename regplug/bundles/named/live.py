"""Live dropout with several inputs or outputs: packed rows, and all outputs side by side. numpy only.

Shape letters: B rows, F numbers of all inputs of a row, K numbers of all outputs of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regplug.bundles.cases import REAL, Reference
from regplug.bundles.formats import Array, NamedNoiseRuns, NamedRun, NoiseRuns, Run
from regplug.bundles.named.samples import Setting
from regplug.bundles.named.signature import Signature, Sizes, flat, unpack


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Joins a file's inputs and its outputs.

    Args:
        signature: The bundle's inputs and outputs.
        sizes: The sizes of the symbolic axes.
    """

    signature: Signature
    sizes: Sizes

    def arrays(self, packed_BF: Array) -> dict[str, Array]:
        """Returns packed rows by input."""
        return unpack(packed_BF, self.signature.inputs, self.sizes)

    def outputs(self, found: Mapping[str, Array]) -> Array:
        """Returns all outputs of each row side by side `(B, K)`."""
        return np.hstack([flat(found[part.name]) for part in self.signature.outputs])

    def run(self, run: NamedRun) -> Run:
        """Returns a function from packed rows to all outputs."""
        return lambda packed_BF: self.outputs(run(self.arrays(packed_BF)))

    def noise(self, runs: NamedNoiseRuns) -> NoiseRuns:
        """Returns the same for the ways in which a verifier runs a stochastic file."""
        return NoiseRuns(
            off=self.run(runs.off),
            given=lambda packed_BF, numbers: self.outputs(runs.given(self.arrays(packed_BF), numbers)),
            drawn=lambda packed_BF: runs.drawn(self.arrays(packed_BF)),
        )


def joined_real(setting: Setting) -> Reference:
    """Returns the outputs of the model without noise for the real rows, side by side."""
    known = [references[0] for references in setting.known.values()]
    return Reference(
        case=REAL,
        inputs=known[0].inputs,
        outputs=np.hstack([one.outputs for one in known]),
        tolerance=max(one.tolerance for one in known),
    )


def layers_of(manifest: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Returns the calls of dropout layers; none in a bundle without live dropout."""
    part = manifest.get("stochastic")
    layers: Sequence[Mapping[str, Any]] = part["layers"] if part else ()
    return layers
