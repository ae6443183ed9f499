"""A model with several inputs or outputs, as it is exported and as the checks of other bundles see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from regplug.bundles.calibration.graph import Conformal
from regplug.bundles.isolate import Deployed, Ending
from regplug.bundles.named.calling import Calling
from regplug.bundles.named.signature import InputPart, Sizes, unpack


class NamedDeployed(Deployed):
    """Raw inputs to outputs: preprocessing of each input, then the trained network.

    Args:
        preprocess: An `nn.ModuleList` with a module for each input, in order.
        network: The trained network.
        calling: How it is called.
        ending: `softmax` or `sigmoid` of the first output; empty for none. A temperature divides the first output, too.
    """

    def __init__(self, preprocess: nn.Module, network: nn.Module, calling: Calling, ending: Ending = "") -> None:
        super().__init__(preprocess, network, ending)
        self.calling = calling

    def forward(self, *raw: Tensor) -> Any:
        """Maps raw inputs `(B, ...)` to float32 outputs: one tensor, or a tuple of several."""
        outputs = [_single(part) for part in self.parts(raw)]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def parts(self, raw: Sequence[Tensor], *, exactly: bool = False) -> list[Tensor]:
        """Returns all outputs in the network's own type; `exactly` for float64."""
        first, *others = self.own_parts(raw, exactly=exactly)
        return [self.ended(first), *others]

    def own_parts(self, raw: Sequence[Tensor], *, exactly: bool = False) -> list[Tensor]:
        """Returns the network's own outputs, without a temperature and an ending."""
        return self.calling.parts(self.result(raw, exactly=exactly), raw[0].shape[0])

    def result(self, raw: Sequence[Tensor], *, exactly: bool = False) -> Any:
        """Returns what the network returns."""
        copies = [one.clone() if self.writes_input else one for one in raw]
        given = [step(one) for step, one in zip(self.preprocess.children(), copies, strict=True)]
        if exactly:
            given = [one.double() if one.is_floating_point() else one for one in given]
        return self.calling.call(self.network, given)


class Packed(NamedDeployed):
    """The same model as a function of packed rows `(B, F)`: to one output `(B, K)`, or to all of them side by side.

    Args:
        model: The model, whose modules are shared.
        inputs: Its inputs.
        sizes: The sizes of its symbolic axes.
        output: The output; empty for all.
    """

    def __init__(self, model: NamedDeployed, inputs: Sequence[InputPart], sizes: Sizes, output: str = "") -> None:
        super().__init__(model.preprocess, model.network, model.calling, model.ending)
        self.temperature, self.noise = model.temperature, model.noise
        self._inputs, self._sizes, self._output = inputs, sizes, output
        self.eval()

    def forward(self, *raw: Tensor) -> Tensor:
        """Maps packed rows `(B, F)` to outputs `(B, K)`."""
        return _single(self._joined(self.parts(self._unpacked(raw[0]))))

    def uncalibrated(self, raw: Tensor) -> Tensor:
        """Returns the network's own output."""
        return _single(self._joined(self.own_parts(self._unpacked(raw))))

    def exact(self, raw: Tensor) -> Tensor:
        """Returns the output in float64, for a model whose parameters are float64."""
        wide = [one.double() if one.is_floating_point() else one for one in self._unpacked(raw)]
        return self._joined(self.parts(wide, exactly=True))

    def _unpacked(self, raw: Tensor) -> list[Tensor]:
        # In numpy, because modes that change the results of torch's operators must not change the inputs.
        return list(map(torch.from_numpy, unpack(raw.numpy(), self._inputs, self._sizes).values()))

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        named = zip(self.calling.outputs, parts, strict=True)
        return torch.cat([part.reshape(len(part), -1) for (name, _), part in named if self._output in ("", name)], 1)


class NamedConformal(Conformal):
    """Raw inputs to all outputs, followed by prediction sets or intervals of the first one."""

    def forward(self, *raw: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override] # several inputs
        """Maps raw inputs `(B, ...)` to a tuple of outputs."""
        outputs = self.deployed(*raw)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return (*outputs, self.added(outputs[0]))


def _single(output: Tensor) -> Tensor:
    return output if output.dtype == torch.float32 else output.float()
