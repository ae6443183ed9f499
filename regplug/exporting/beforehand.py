"""Whether a run could be exported at its end, asked before it is trained."""

from __future__ import annotations

from regplug.bundles.copying import own_copy
from regplug.bundles.structure import check_untrained
from regplug.errors import ExportError, ModelError
from regplug.exporting.of_run import request_of_run
from regplug.regularization.settling import settle
from regplug.runs.assembly import Assembly


def require_exportable(made: Assembly) -> None:
    """Refuses a run that would export a network of which no bundle can be made, whatever it learns.

    The untrained network is captured as the trained one will be. Its numbers are not judged.

    Args:
        made: What the run is made of; not changed.

    Raises:
        ModelError: The network is always random, has a fixed batch size, decides by the numbers that go through it, or
            keeps what it learns outside its state.
    """
    if not made.config.export:
        return
    try:
        network = settle(own_copy(made.network.model), made.network.final_settings)
        check_untrained(request_of_run(made.config, made.components, made.data, network, run_id=""))
    except ExportError as error:
        raise ModelError(
            f"The model {made.components.model.registered.name} cannot be exported, so nothing was trained: "
            f"{error.message}",
            hint=f"{error.hint} Or train it without a bundle: --no-export, from Python export=False.",
        ) from error
