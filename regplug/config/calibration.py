"""Checks the request for a calibrated bundle."""

from __future__ import annotations

from regplug.errors import RequestError


def check_calibration(kind: str, coverage: float) -> None:
    """Checks the request for a calibration alone.

    Raises:
        RequestError: The kind is unknown, the coverage is not a number between 0 and 1, or both are requested.
    """
    if kind not in ("none", "temperature"):
        raise RequestError(f"There is no calibration {kind!r}.", hint="Choose temperature or none.")
    try:
        is_share = 0 <= coverage < 1
    except TypeError:
        raise RequestError(f"The coverage {coverage!r} is not a number.", hint="Give a share, such as 0.9.") from None
    if not is_share:
        raise RequestError(
            f"A coverage of {coverage:g} cannot be promised.", hint="Give a share above 0 and below 1, such as 0.9."
        )
    if coverage and kind != "none":
        raise RequestError(
            "Both a temperature and a conformal threshold were requested, and both would be fitted on the same "
            "validation rows.",
            hint="Choose one: --calibrate temperature, or --conformal 0.9.",
        )
