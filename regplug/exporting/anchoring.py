"""What is known about a bundle from outside it: the digests that a run logged, a digest, a public key."""

from __future__ import annotations

from regplug.bundles.origin import DIGEST_TAG, Origin, parse_digest
from regplug.errors import RequestError
from regplug.tracking import open_store


def find_origin(*, run: str = "", digest: str = "", key: str = "", tracking_uri: str | None = None) -> Origin:
    """Collects what a bundle is to be compared with.

    Args:
        run: A run's id, the beginning of its id, or its name; empty for none.
        digest: The SHA-256 of the bundle's `SHA256SUMS`; empty for none.
        key: The signer's public key, or the path of its file; empty for none.
        tracking_uri: The run's MLflow store.

    Raises:
        RequestError: There is no such run, it logged no digest, or digest or key are not valid.
    """
    parsed = parse_digest(digest) if digest else ""
    public_key = None
    if key:
        from regplug.bundles.signing import load_public_key

        public_key = load_public_key(key)
    name, digests = _logged(run, tracking_uri) if run else ("", frozenset[str]())
    return Origin(digest=parsed, run=name, run_digests=digests, key=public_key)


def _logged(run: str, tracking_uri: str | None) -> tuple[str, frozenset[str]]:
    info = open_store(tracking_uri, is_read=True).find_run(run)
    name = f"{info.name} ({info.run_id[:8]})"
    digests = frozenset(value for tag, value in info.tags.items() if tag.startswith(DIGEST_TAG))
    if not digests:
        raise RequestError(
            f"Run {name} logged no digest of a bundle.",
            hint="It was exported by an older regplug, as part of an ensemble, or not at all: `regplug export` it "
            "again, or use --digest or --key.",
        )
    return name, digests
