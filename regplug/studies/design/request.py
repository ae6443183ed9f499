"""Checks the request of a study before torch or mlflow is imported."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from regplug.registry import Registry
from regplug.runs.request import check_parts, check_places
from regplug.studies.design.config import StudyConfig
from regplug.studies.design.points import Point, points_of


def check_study(
    study: StudyConfig, registry: Registry, *, refits: bool = False, tracking_uri: str | None = None
) -> Sequence[Point]:
    """Checks every setting of a study and returns all its runs.

    Args:
        study: The requested study.
        registry: The installed components.
        refits: Whether the best setting is trained again, and exported if the runs are.
        tracking_uri: As for `execute`.

    Raises:
        RequestError: The request is wrong; nothing was started.
    """
    check_parts(study.base, registry)
    points = points_of(study, registry)
    for point in {point.setting.label: point for point in points}.values():
        check_parts(point.config, registry)
    check_places(study.base if refits else dataclasses.replace(study.base, export=False), tracking_uri)
    return points
