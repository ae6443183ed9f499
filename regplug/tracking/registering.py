"""The model registry: registers a logged model as a version of a registered model, and sets an alias."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from regplug.errors import RequestError, TrackingError
from regplug.tracking.trouble import tracking_trouble

_WAIT_S = 60
_RESERVED_ALIAS = re.compile(r"v\d+|latest|\d+", re.IGNORECASE)
_ALIAS = re.compile(r"[\w-]{1,255}")


def check_registration(name: str, alias: str = "") -> None:
    """Checks the names of a registration, if there is one.

    Args:
        name: Name of the registered model; empty for none.
        alias: Alias of the version; empty for none.

    Raises:
        RequestError: See `check_names`; or there is an alias without a registered model.
    """
    if name:
        check_names(name, alias)
    elif alias:
        raise RequestError(f"The alias {alias} has no registered model.", hint="Add --register NAME.")


def check_names(name: str, alias: str = "") -> None:
    """Checks that names are valid for a registry, before anything is written.

    Args:
        name: Name of the registered model.
        alias: Alias of the version; empty for none.

    Raises:
        RequestError: The name is empty or has a slash or a colon; the alias is reserved or not a plain word.
    """
    if not name.strip() or set(name) & set("/:"):
        raise RequestError(f"{name!r} cannot name a registered model.", hint="Use a name without / and : .")
    if alias and (_RESERVED_ALIAS.fullmatch(alias) or not _ALIAS.fullmatch(alias)):
        raise RequestError(
            f"{alias!r} is not a valid alias.",
            hint="Use letters, digits, - and _, such as champion; v1 and latest are reserved.",
        )


def register(client: Any, model_uri: str, *, run_id: str, name: str, alias: str = "") -> str:
    """Registers a logged model and returns its version.

    Args:
        client: MLflow's client.
        model_uri: Address `models:/ID` of the logged model.
        run_id: The run that it comes from.
        name: Name of the registered model, which is created if it is new.
        alias: Alias that will point to the version; empty for none.

    Raises:
        TrackingError: The registry cannot be written.
    """
    from mlflow.exceptions import MlflowException

    with tracking_trouble(f"The model could not be registered as {name}"), _quiet():
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        model_id = model_uri.removeprefix("models:/")
        # Not `models:/ID`: a SQL registry resolves that in MLflow's global store, which may be another one.
        source = client.get_logged_model(model_id).artifact_location
        made = client.create_model_version(
            name, source=source, run_id=run_id, model_id=model_id, await_creation_for=_WAIT_S
        )
        if made.status != "READY":
            raise TrackingError(f"Version {made.version} of {name} is {made.status}.", hint="Check the registry's log.")
        if alias:
            client.set_registered_model_alias(name, alias, str(made.version))
    return str(made.version)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the client's progress messages on stderr; regplug reports the outcome."""
    logger = logging.getLogger("mlflow.store.model_registry.abstract_store")
    level, logger.level = logger.level, logging.WARNING
    try:
        yield
    finally:
        logger.level = level
