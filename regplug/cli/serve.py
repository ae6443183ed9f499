"""`regplug serve`: imports neither torch nor mlflow."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import Annotated

import typer

from regplug.bundles.layout import require_bundle
from regplug.cli.options import Command, Json, TrackingUri, new_app
from regplug.cli.output import emit, note, say
from regplug.errors import RequestError

app = new_app()

_MOST_PORTS = 65_535
_INSTALL = 'pip install "regplug[serve]"'


@app.command(cls=Command)
def serve(
    bundle: Annotated[str, typer.Argument(help="Folder of the bundle.")],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; by default only this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on; 0 for a free one.")] = 8000,
    max_body_mib: Annotated[int, typer.Option("--max-body-mib", help="Size of the largest request.")] = 16,
    passes: Annotated[
        int | None,
        typer.Option(
            "--passes",
            metavar="<integer>",
            help="Number of random passes of a stochastic bundle.  [default: 20]",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        str, typer.Option("--run", metavar="<run>", help="As for `regplug verify`.", show_default=False)
    ] = "",
    digest: Annotated[
        str, typer.Option("--digest", metavar="<sha256>", help="As for `regplug verify`.", show_default=False)
    ] = "",
    key: Annotated[
        str, typer.Option("--key", metavar="<key>", help="As for `regplug verify`.", show_default=False)
    ] = "",
    tracking_uri: TrackingUri = None,
    json: Json = False,
) -> None:
    """Verify a bundle, then answer predictions over HTTP with onnxruntime.

    POST /predict takes JSON or image files; GET /health, /metadata and /metrics tell about the server. SIGTERM and
    Ctrl-C end it after the requests that have begun.
    """
    require_bundle(Path(bundle))
    _check(port, max_body_mib)
    _require_libraries()
    from regplug.serving.loading import load_verified
    from regplug.serving.running import open_socket
    from regplug.serving.running import serve as serve_model

    options = {"--run": run, "--digest": digest, "--key": key, "--tracking-uri": tracking_uri or ""}
    origin = [word for option, value in options.items() if value for word in (option, value)]
    with open_socket(host, port) as listening:
        model = load_verified(Path(bundle), passes=passes, origin=origin)
        if not _is_loopback(host):
            note(f"note: other machines can reach {host}; the server asks nobody for a password.")
        serve_model(
            model,
            listening,
            most_bytes=max_body_mib * 2**20,
            tell=lambda address: _tell(bundle, model.digest, address, as_json=json),
        )


def _tell(bundle: str, digest: str, address: str, *, as_json: bool) -> None:
    if as_json:
        emit({"path": bundle, "digest": digest, "address": address})
    else:
        say(f"{bundle} (digest {digest[:12]}) is served at {address}")
    # Whoever started the server waits for this line.
    sys.stdout.flush()


def _check(port: int, max_body_mib: int) -> None:
    if not 0 <= port <= _MOST_PORTS:
        raise RequestError(f"--port {port} is not a port.", hint=f"Give 0 to {_MOST_PORTS}.")
    if max_body_mib < 1:
        raise RequestError(f"--max-body-mib {max_body_mib} admits no request.", hint="Give 1 or more.")


def _require_libraries() -> None:
    try:
        import regplug.serving.running  # noqa: F401
    except ModuleNotFoundError as error:
        raise RequestError(f"The server needs {error.name}, which is not installed.", hint=_INSTALL) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
