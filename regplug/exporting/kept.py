"""The stored parts of a tracked run that an export needs, compared with what was tracked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from regplug.bundles.request import BundleRequest
from regplug.config import RunConfig, load_config
from regplug.data import Prepared
from regplug.errors import RequestError, VerificationError
from regplug.exporting.deployment import DEPLOYED_FILE
from regplug.exporting.of_run import rebuilt_network, request_of_run
from regplug.registry import Registry
from regplug.registry.components import Components, find_components
from regplug.runs.loading import load_data
from regplug.runs.stored import CONFIG_FILE, STATE_FILE, asking_for_objects, require_same_data
from regplug.tracking import RunInfo, Store
from regplug.training.ensemble import count_members
from regplug.training.state_hash import state_sha256

_STATE_TAG = "regplug.state_sha256"


class Kept:
    """The stored parts of a run: its configuration with the requested formats, its data and its trained state.

    Args:
        store: Its store.
        info: The run.
        registry: The installed components.
        formats: Formats as components; empty for those of the run.
        calibrate: As in the run's configuration; `None` for that of the run, or for none if `conformal` is given.
        conformal: Likewise.
    """

    def __init__(
        self,
        store: Store,
        info: RunInfo,
        registry: Registry,
        formats: Sequence[str],
        *,
        calibrate: str | None = None,
        conformal: float | None = None,
    ) -> None:
        self._store, self.info = store, info
        missing = [name for name in (CONFIG_FILE, STATE_FILE) if name not in store.artifact_names(info.run_id)]
        if missing:
            raise RequestError(f"Run {info.name} ({info.run_id[:8]}) has no {missing[0]}.", hint=_why(info))
        flags: dict[str, Any] = {"format": tuple(formats) or None, "export": True}
        if calibrate is not None or conformal is not None:
            flags |= {"calibrate": calibrate or "none", "conformal": conformal or 0.0}
        self.config: RunConfig = load_config(store.read_artifact(info.run_id, CONFIG_FILE), flags=flags)
        # The model is exported from the CPU, wherever it was trained.
        self._here = replace(self.config, device="cpu")
        self.components = self._find(registry)

    def _find(self, registry: Registry) -> Components:
        with asking_for_objects(f"Run {self.info.name}", "regplug.export"):
            return find_components(self._here, registry)

    def require_deployable(self) -> None:
        """Checks that the formats include the file to register."""
        files = [chosen.registered.component.filename for chosen in self.components.formats]  # type: ignore[attr-defined] # found as formats
        if DEPLOYED_FILE not in files:
            raise RequestError(
                f"{DEPLOYED_FILE} would be registered, but no requested format writes it.", hint="Add --format onnx."
            )

    def load_data(self) -> Prepared:
        """Returns the data after checking that they have not changed since the run."""
        data = load_data(self._here, self.components)
        require_same_data(
            data,
            self._store.dataset_digests(self.info.run_id).get(data.raw.name),
            self.info.name,
            hint="Restore the data: normalisation and test accuracy of the file are computed from them.",
        )
        return data

    def load_model(self, data: Prepared) -> nn.Module:
        """Returns the trained network after checking that its state is the one that was tracked."""
        state = torch.load(
            self._store.read_artifact(self.info.run_id, STATE_FILE), map_location="cpu", weights_only=True
        )
        model = rebuilt_network(self._here, self.components, data, count_members(list(state)))
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise VerificationError(
                f"The trained state of run {self.info.name} does not fit its rebuilt model: {error}",
                hint="The code of the model or of a regularizer has changed since the run; restore it.",
            ) from error
        digest, tracked = state_sha256(model), self.info.tags.get(_STATE_TAG)
        if tracked is not None and digest != tracked:
            raise VerificationError(
                f"{STATE_FILE} of run {self.info.name} is not the trained state: its sha256 is {digest[:16]}, "
                f"but {tracked[:16]} was tracked.",
                hint="The file was changed after the run; train again: regplug run --config config.toml.",
            )
        return model.eval()

    def request(self, data: Prepared, *, probabilities: bool, stochastic: bool) -> BundleRequest:
        """Returns the request for the run's bundle.

        Args:
            data: The run's data.
            probabilities: Whether the graph ends in a softmax (for labels, a sigmoid).
            stochastic: Whether dropout stays live in inference.
        """
        return request_of_run(
            self.config,
            self.components.for_task(data.task),
            data,
            self.load_model(data),
            run_id=self.info.run_id,
            probabilities=probabilities,
            stochastic=stochastic,
        )


def _why(info: RunInfo) -> str:
    if info.parent_id is not None:
        return "A study stores no weights: `regplug export` trains the run again."
    if info.status == "FINISHED":
        return "It was not tracked by `regplug run`. Export your own module with regplug.export(module, example, out)."
    return f"It ended {info.status}: train it again with `regplug run`."
