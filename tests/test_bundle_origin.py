"""A bundle is held against what is known of it outside: a run's digest, a digest, a signature of minisign."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_calls import Terminal
from made_bundles import onnx_only, row_request
from runs import Place, standing_in

import regplug
from regplug.bundles.layout import CHECKSUMS, SIGNATURE, bundle_digest, write_checksums
from regplug.bundles.origin import Origin, origin_checks
from regplug.bundles.signing import PASSWORD_VARIABLE, load_public_key, load_signer
from regplug.bundles.writing import write_bundle
from regplug.errors import RequestError

minisign = pytest.importorskip("minisign", reason="py-minisign is not installed: pip install -e .[sign]")
TOOL = shutil.which("minisign")


class Keys:
    """A pair of minisign's keys in two files."""

    def __init__(self, folder: Path, name: str, password: str = "") -> None:
        pair = minisign.KeyPair.generate()
        self.public, self.secret = folder / f"{name}.pub", folder / f"{name}.key"
        self.public.write_bytes(bytes(pair.public_key) + b"\n")
        self.text = pair.public_key.to_base64().decode()
        if password:
            # As minisign does, but with less work.
            pair.secret_key.encrypt(password, opslimit=32768, memlimit=2**20)
        self.secret.write_bytes(bytes(pair.secret_key) + b"\n")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"), "ours")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    out = tmp_path_factory.mktemp("signed") / "bundle"
    return write_bundle(row_request(formats=onnx_only()), out, load_signer(keys.secret)).path


@pytest.fixture
def bundle(signed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(signed, tmp_path / "bundle")


def faults(bundle: Path, **known: object) -> list[str]:
    return [check.detail for check in origin_checks(bundle, Origin(**known)) if not check.passed]


def forged(bundle: Path) -> None:
    """Replaces a file, and with it every checksum, as whoever forges a bundle would."""
    report = json.loads((bundle / "verification.json").read_text())
    report["checks"][0]["detail"] += "!"
    (bundle / "verification.json").write_text(json.dumps(report))
    write_checksums(bundle)


def test_a_signed_bundle_is_verified_with_the_public_key_and_with_its_digest(bundle: Path, keys: Keys) -> None:
    digest = hashlib.sha256((bundle / CHECKSUMS).read_bytes()).hexdigest()
    report = regplug.verify(bundle, key=str(keys.public), digest=digest.upper())
    assert report.passed, report.failures
    assert {"origin.signature", "origin.digest", "bundle.checksums", "bundle.contents"} <= {
        c.name for c in report.checks
    }
    assert SIGNATURE not in (bundle / CHECKSUMS).read_text()
    assert faults(bundle, key=load_public_key(keys.text)) == []


def test_a_bundle_whose_files_were_all_replaced_consistently_is_found_by_digest_and_signature(
    bundle: Path, keys: Keys
) -> None:
    digest = bundle_digest(bundle)
    forged(bundle)
    assert regplug.verify(bundle).passed, "the files alone cannot show it"
    for known in ({"digest": digest}, {"key": str(keys.public)}):
        report = regplug.verify(bundle, **known)
        assert not report.passed
        assert [check.name.split(".")[0] for check in report.failures] == ["origin"]
        assert len(report.checks) == 2, "nothing else of a forged bundle is read"


def of_another_bundle(bundle: Path, keys: Keys) -> None:
    (bundle.parent / CHECKSUMS).write_text("another\n")
    load_signer(keys.secret).sign(bundle.parent)
    shutil.copy(bundle.parent / SIGNATURE, bundle / SIGNATURE)


def truncated(bundle: Path, _: Keys) -> None:
    (bundle / SIGNATURE).write_bytes((bundle / SIGNATURE).read_bytes()[:120])


def of_another_key(bundle: Path, _: Keys) -> None:
    load_signer(Keys(bundle.parent, "theirs").secret).sign(bundle)


def with_another_comment(bundle: Path, _: Keys) -> None:
    content = (bundle / SIGNATURE).read_text()
    (bundle / SIGNATURE).write_text(content.replace("timestamp:1", "timestamp:2"))


def missing(bundle: Path, _: Keys) -> None:
    (bundle / SIGNATURE).unlink()


def a_link(bundle: Path, _: Keys) -> None:
    (bundle / SIGNATURE).rename(bundle.parent / SIGNATURE)
    (bundle / SIGNATURE).symlink_to(bundle.parent / SIGNATURE)


def empty(bundle: Path, _: Keys) -> None:
    (bundle / SIGNATURE).write_bytes(b"")


FORGERIES = {
    of_another_bundle: "is not the signature of this SHA256SUMS",
    truncated: "is not a signature of minisign",
    of_another_key: "was made with another key",
    with_another_comment: "is not the signature of this SHA256SUMS",
    missing: "the bundle is not signed",
    a_link: "is a link",
    empty: "is not a signature of minisign",
}


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_a_signature_that_is_not_of_this_bundle_and_key_is_refused(
    forge: Callable[[Path, Keys], None], bundle: Path, keys: Keys
) -> None:
    forge(bundle, keys)
    (fault,) = faults(bundle, key=load_public_key(str(keys.public)))
    assert FORGERIES[forge] in fault
    assert not regplug.verify(bundle, key=keys.text).passed


def test_the_command_says_what_it_proves(bundle: Path, keys: Keys, terminal: Terminal) -> None:
    alone = terminal("verify", bundle)
    assert (alone.code, "not where they come from" in alone.err) == (0, True)
    assert terminal("verify", bundle, "--json").document["proves"] == "consistency"
    known = terminal("verify", bundle, "--key", keys.public)
    assert (known.code, known.err) == (0, "")
    assert "origin.signature: SHA256SUMS has a valid signature of the key" in known.out
    forged(bundle)
    wrong = terminal("verify", bundle, "--key", keys.public, "--json")
    assert wrong.code == 1
    assert wrong.document["error"]["type"] == "VerificationError"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--digest", "abc"], "64 hexadecimal digits"),
        (["--key", "no/such/file"], "neither the file of a public key"),
        (["--key", "__SECRET__"], "neither the file of a public key"),
        (["--tracking-uri", "sqlite:///x.db"], "has no effect without --run"),
    ],
)
def test_a_statement_that_is_none_is_refused(
    options: list[str], words: str, bundle: Path, keys: Keys, terminal: Terminal
) -> None:
    said = terminal("verify", bundle, *(str(keys.secret) if word == "__SECRET__" else word for word in options))
    assert said.code == 2
    assert words in said.err
    assert keys.secret.read_text().splitlines()[1] not in said.err


def test_a_secret_key_with_a_password_needs_the_password(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = Keys(tmp_path, "locked", "open sesame")
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    with pytest.raises(RequestError, match="no terminal to ask"):
        load_signer(keys.secret)
    monkeypatch.setenv(PASSWORD_VARIABLE, "open barley")
    with pytest.raises(RequestError, match="wrong password") as wrong:
        load_signer(keys.secret)
    assert "barley" not in str(wrong.value)
    monkeypatch.setenv(PASSWORD_VARIABLE, "open sesame")
    signer = load_signer(keys.secret)
    signer.sign(bundle)
    assert faults(bundle, key=load_public_key(str(keys.public))) == []
    assert "sesame" not in repr(signer) + "".join(capsys.readouterr())


def test_a_key_that_cannot_sign_is_refused_before_anything_is_done(tmp_path: Path, keys: Keys) -> None:
    for path in (keys.public, tmp_path / "none.key"):
        with pytest.raises(RequestError, match="secret key"):
            regplug.export(row_request().module, row_request().samples, tmp_path / "bundle", sign=path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_logs_the_digest_of_each_of_its_bundles(
    tmp_path: Path, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal(capsys)
    with standing_in(tmp_path):
        place = Place(tmp_path)
        run = place.run(dataset="digits", model="linear", epochs=1, export=True, format=["onnx"])
        other = place.run(dataset="digits", model="linear", epochs=1, seed=1)
        assert regplug.verify(run.bundle_path, run=run.run_id).passed
        again = terminal("export", run.run_id, "--out", "signed", "--sign", keys.secret, "--probabilities", "--json")
        assert again.document["bundle"]["digest"] == bundle_digest(Path("signed"))
        assert regplug.verify("signed", run=run.run_name, key=keys.text).passed
        unlogged = terminal("verify", "signed", "--run", other.run_id)
        assert (unlogged.code, "logged no digest" in unlogged.err) == (2, True)
        forged(Path("signed"))
        wrong = terminal("verify", "signed", "--run", run.run_id)
    assert wrong.code == 1
    assert "did not log the digest" in wrong.out


@pytest.mark.skipif(TOOL is None, reason="there is no minisign: apt-get install minisign")
def test_the_tool_minisign_and_regplug_read_each_others_keys_and_signatures(
    bundle: Path, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tool(*words: object, said: str = "") -> None:
        subprocess.run(
            [str(TOOL), *map(str, words)], check=True, cwd=bundle, input=said, text=True, capture_output=True
        )

    tool("-V", "-m", CHECKSUMS, "-p", keys.public)
    public, secret = tmp_path / "tool.pub", tmp_path / "tool.key"
    tool("-G", "-W", "-p", public, "-s", secret)
    tool("-S", "-m", CHECKSUMS, "-s", secret)
    assert faults(bundle, key=load_public_key(str(public))) == []
    (bundle / SIGNATURE).unlink()
    load_signer(secret).sign(bundle)
    tool("-V", "-m", CHECKSUMS, "-p", public)
