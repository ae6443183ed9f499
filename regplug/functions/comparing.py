"""`regplug.compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regplug.functions.arguments import PathLike
    from regplug.studies.comparison.compared import Compared


def compare(
    *names: str,
    by: str | Sequence[str] = (),
    metric: str = "",
    baseline: str | None = None,
    all_pairs: bool = False,
    minimize: bool | None = None,
    tracking_uri: str | None = None,
    out: PathLike | None = None,
) -> Compared:
    """Ranks the settings of studies or experiments: `regplug compare` from Python.

    Args:
        names: Experiments by name; studies by id or name.
        by: Parameters that define the settings: `reg`, `lr`, `model.hidden`; by default all that differ.
        metric: The metric to compare; by default the metric of the study, else test accuracy or loss.
        baseline: The setting with which the others are compared; by default the reference of the study, else the
            setting without regularizers.
        all_pairs: Whether every setting is compared with every other.
        minimize: Whether lower values of the metric are better; by default its name decides.
        tracking_uri: As for `run`.
        out: File for the HTML report; by default none is written.

    Raises:
        RequestError: Nothing with these names is tracked, or the runs cannot be compared.
    """
    from regplug.studies.comparison.comparing import compare_tracked

    fields = [by] if isinstance(by, str) else list(by)
    found = compare_tracked(
        names,
        by=fields,
        metric=metric,
        baseline=baseline,
        all_pairs=all_pairs,
        minimize=minimize,
        tracking_uri=tracking_uri,
    )
    if out is not None:
        found.write(Path(out))
    return found
