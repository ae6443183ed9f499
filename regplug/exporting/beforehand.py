"""Checks before training whether a run can be exported at its end."""

from __future__ import annotations

from regplug.bundles.copying import own_copy
from regplug.bundles.structure import check_untrained
from regplug.bundles.untrained import UntrainedGraph
from regplug.errors import ExportError, ModelError
from regplug.exporting.of_run import request_of_run
from regplug.regularization.settling import settle
from regplug.runs.assembly import Assembly


def require_exportable(made: Assembly) -> UntrainedGraph | None:
    """Refuses a run whose network cannot be exported, whatever it learns.

    The untrained network is captured like the trained one. Its outputs are not checked.

    Args:
        made: The assembled run; not changed.

    Returns:
        The network's graph for `export_run`; `None` for a run that is not exported.

    Raises:
        ModelError: The network is random in evaluation, has a fixed batch size, branches on tensor values, or keeps
            what it learns outside its state.
    """
    if not made.config.export:
        return None
    try:
        network = settle(own_copy(made.network.model), made.network.final_settings)
        return check_untrained(request_of_run(made.config, made.components, made.data, network, run_id=""))
    except ExportError as error:
        raise ModelError(
            f"The model {made.components.model.registered.name} cannot be exported, so nothing was trained: "
            f"{error.message}",
            hint=f"{error.hint} Or train without a bundle: --no-export, or export=False from Python.",
        ) from error
