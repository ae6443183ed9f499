"""Signs `SHA256SUMS` with minisign, and verifies the signature. minisign is imported only here."""

from __future__ import annotations

import getpass
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from regplug.bundles.layout import CHECKSUMS, SIGNATURE
from regplug.bundles.reading import read_small
from regplug.errors import RequestError

if TYPE_CHECKING:
    import minisign

PASSWORD_VARIABLE = "REGPLUG_SIGN_PASSWORD"  # noqa: S105 - the name of the variable
_INSTALL = 'pip install "regplug[sign]"'
_MOST_KEY_BYTES = 2**14
_KEY_HINT = "`minisign -G -p regplug.pub -s regplug.key` makes a pair of keys."


class Signer:
    """Signs bundles with one secret key.

    Args:
        key: The decrypted secret key.
    """

    def __init__(self, key: minisign.SecretKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "Signer()"

    def sign(self, folder: Path) -> None:
        """Writes the signature of `SHA256SUMS` beside it, as `minisign -S` does."""
        comment = f"timestamp:{int(time.time())}\tfile:{CHECKSUMS}\thashed"
        signature = self._key.sign((folder / CHECKSUMS).read_bytes(), trusted_comment=comment)
        (folder / SIGNATURE).write_bytes(bytes(signature) + b"\n")


def load_signer(path: Path) -> Signer:
    """Reads a secret key, and asks for its password if it has one.

    The password is that of the environment variable `REGPLUG_SIGN_PASSWORD`, or is asked for at the terminal.

    Args:
        path: A secret key of minisign.

    Raises:
        RequestError: minisign is not installed, the file is not a secret key, or the password is missing or wrong.
    """
    _require_minisign()
    import minisign

    try:
        key = minisign.SecretKey.from_bytes(_read_key(path, "secret"))
        is_encrypted = key.is_encrypted()
    except ValueError as error:
        raise RequestError(f"{path} is not a secret key of minisign: {error}.", hint=_KEY_HINT) from None
    if is_encrypted:
        password = _password(path)
        try:
            key.decrypt(password)
        except (ValueError, MemoryError) as error:
            message = f"The secret key {path} cannot be decrypted: {error or 'not enough memory'}."
            raise RequestError(message, hint=f"Give its password in {PASSWORD_VARIABLE} or at the terminal.") from None
    return Signer(key)


def load_public_key(text: str) -> minisign.PublicKey:
    """Reads a public key.

    Args:
        text: The path of its file, or the key itself, as `minisign -P` takes it.

    Raises:
        RequestError: minisign is not installed, or the text is neither.
    """
    _require_minisign()
    import minisign

    try:
        if not Path(text).exists():
            return minisign.PublicKey.from_base64(text.encode())
        return minisign.PublicKey.from_bytes(_read_key(Path(text), "public"))
    except (ValueError, OSError) as error:
        raise RequestError(
            f"{text} is neither the file of a public key of minisign nor the key itself: {error}.", hint=_KEY_HINT
        ) from None


def signature_fault(folder: Path, key: minisign.PublicKey) -> str:
    """Returns why a bundle does not have a valid signature of a key, or an empty string.

    Args:
        folder: The bundle's folder.
        key: The signer's public key.

    Raises:
        BundleError: A file cannot be read.
        VerificationError: A file is not a regular file, or is far too large.
    """
    import minisign

    if not (folder / SIGNATURE).is_symlink() and not (folder / SIGNATURE).exists():
        return f"the bundle is not signed: it has no {SIGNATURE}"
    content = read_small(folder, SIGNATURE)
    try:
        signature = minisign.Signature.from_bytes(content)
    except ValueError as error:
        return f"{SIGNATURE} is not a signature of minisign: {error}"
    try:
        key.verify(read_small(folder, CHECKSUMS), signature)
    except ValueError as error:
        is_other_key = "key identifiers" in str(error)
        return (
            f"{SIGNATURE} was made with another key"
            if is_other_key
            else f"{SIGNATURE} is not the signature of this {CHECKSUMS}: {error}"
        )
    return ""


def _require_minisign() -> None:
    try:
        import minisign  # noqa: F401
    except ModuleNotFoundError:
        raise RequestError("Signatures need py-minisign, which is not installed.", hint=f"{_INSTALL}") from None


def _read_key(path: Path, kind: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_KEY_BYTES)
    except OSError as error:
        raise RequestError(f"The {kind} key {path} cannot be read: {error.strerror}.", hint=_KEY_HINT) from None


def _password(path: Path) -> str:
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is not None:
        return given
    if sys.stdin is None or not sys.stdin.isatty():
        raise RequestError(
            f"The secret key {path} has a password, and there is no terminal to ask for it.",
            hint=f"Set {PASSWORD_VARIABLE}.",
        )
    return getpass.getpass(f"Password of {path}: ")
