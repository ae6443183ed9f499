"""Checks a bundle against statements from outside it: a digest, a run's digests, a signature."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from regplug.bundles.layout import bundle_digest
from regplug.bundles.report import Check, holds
from regplug.errors import BundleError, RequestError, VerificationError

if TYPE_CHECKING:
    import minisign

DIGEST_TAG = "regplug.bundle_digest."
"""Tag of a run for each bundle that was exported from it: this and the first digits of the digest."""

ONLY_CONSISTENT = (
    "This shows that the files are consistent, not where they come from: whoever replaces all of them also replaces "
    "SHA256SUMS. Compare with a run (--run), a digest (--digest) or a signature (--key)."
)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TAG_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Statements from outside a bundle about its `SHA256SUMS`.

    Args:
        digest: The SHA-256 of `SHA256SUMS`; empty for none.
        run: Name and id of a run, for messages; empty for none.
        run_digests: The digests that the run logged.
        key: The public key of the signer.
    """

    digest: str = ""
    run: str = ""
    run_digests: frozenset[str] = frozenset()
    key: minisign.PublicKey | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is any statement."""
        return bool(self.digest or self.run or self.key)


def digest_tag(digest: str) -> dict[str, str]:
    """Returns the tag with which a run logs the digest of a bundle."""
    return {f"{DIGEST_TAG}{digest[:_TAG_DIGITS]}": digest}


def parse_digest(text: str) -> str:
    """Returns a digest in lower case.

    Raises:
        RequestError: It is not 64 hexadecimal digits.
    """
    digest = text.strip().lower().removeprefix("sha256:")
    if not _DIGEST.fullmatch(digest):
        raise RequestError(
            f"--digest {text} is not a SHA-256: it needs 64 hexadecimal digits.",
            hint="`sha256sum SHA256SUMS` in the bundle prints it, and so does `regplug export`.",
        )
    return digest


def origin_checks(path: Path, origin: Origin) -> list[Check]:
    """Checks a bundle's `SHA256SUMS` against every statement; without one nothing is read.

    Args:
        path: The bundle's folder.
        origin: The statements.
    """
    if not origin.is_known:
        return []
    try:
        return [*_digest_checks(bundle_digest(path), origin), *_signature_checks(path, origin)]
    except (BundleError, VerificationError) as error:
        return [holds("origin.digest", False, error.message)]


def _digest_checks(found: str, origin: Origin) -> list[Check]:
    checks = []
    if origin.digest:
        is_same = found == origin.digest
        told = f"the sha256 of SHA256SUMS is {found}" + ("" if is_same else f", not {origin.digest}")
        checks.append(holds("origin.digest", is_same, told))
    if origin.run:
        is_logged = found in origin.run_digests
        verb = "logged" if is_logged else "did not log"
        checks.append(holds("origin.run", is_logged, f"run {origin.run} {verb} the digest {found}"))
    return checks


def _signature_checks(path: Path, origin: Origin) -> list[Check]:
    if origin.key is None:
        return []
    # minisign is imported only if there is a key.
    from regplug.bundles.signing import signature_fault

    fault = signature_fault(path, origin.key)
    return [holds("origin.signature", not fault, fault or "SHA256SUMS has a valid signature of the key")]
