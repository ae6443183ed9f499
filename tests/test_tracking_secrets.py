"""Passwords in addresses are never shown; a driver that is missing is named rightly."""

from __future__ import annotations

import socket
import sys
import traceback

import pytest
from cli_calls import Terminal

from regplug.errors import TrackingError
from regplug.studies.reporting import compare_address
from regplug.tracking import open_store, resolve_location
from regplug.tracking.secrets import masked, without_login
from regplug.tracking.trouble import explain, tracking_trouble

SECRET = "s3cr3t"  # noqa: S105 - nobody's

ADDRESSES = {
    "postgresql://me:s3cr3t@host:5432/runs": "postgresql://me:***@host:5432/runs",
    "postgresql+psycopg://me:s3cr3t@host/runs?sslmode=require": "postgresql+psycopg://me:***@host/runs?sslmode=require",
    "mysql+pymysql://me:a@s3cr3t/b@host/runs": "mysql+pymysql://me:***@host/runs",
    "postgresql://host/runs?user=me&password=s3cr3t": "postgresql://host/runs?user=me&password=***",
    "https://me:s3cr3t@host:5000/mlflow": "https://me:***@host:5000/mlflow",
    "https://s3cr3t@host": "https://***@host",
    "postgresql://me:s3cr3t": "postgresql://me:***",
    "http://127.0.0.1:5000": "http://127.0.0.1:5000",
    "http://[::1]:5000/api": "http://[::1]:5000/api",
    "postgresql://me@host:5432/runs": "postgresql://me@host:5432/runs",
    "sqlite:////home/a:b@c/mlruns/mlflow.db": "sqlite:////home/a:b@c/mlruns/mlflow.db",
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_shown_without_its_password(address):
    assert masked(address) == ADDRESSES[address]
    assert masked(f"could not reach {address} : no route") == f"could not reach {ADDRESSES[address]} : no route"


@pytest.mark.parametrize("address", [address for address in ADDRESSES if SECRET in address])
def test_what_is_said_of_a_store_that_cannot_be_used_does_not_hold_its_password(address):
    place = address.replace("host", "127.0.0.1:1", 1).replace(":5432", "").replace(":5000", "")
    with pytest.raises(TrackingError, match=r"cannot be (used|read)|needs the driver") as caught:
        open_store(place)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_traceback_does_not_hold_the_password(capsys, scheme):
    uri = f"{scheme}://me:{SECRET}@127.0.0.1:1/runs"
    said = Terminal(capsys)("--debug", "runs", "list", "--tracking-uri", uri)
    assert said.code == 2
    assert "Traceback" in said.err
    assert SECRET not in said.out + said.err
    with pytest.raises(TrackingError) as caught:
        open_store(uri)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_what_an_exception_and_its_causes_hold_is_masked():
    def fail():
        try:
            raise ValueError(f"at http://me:{SECRET}@host:5000/api")
        except ValueError as error:
            raise ConnectionError(f"API request to http://me:{SECRET}@host:5000/api failed") from error

    with pytest.raises(TrackingError) as caught, tracking_trouble("It could not be read"):
        fail()
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD"])
def test_a_secret_of_the_environment_that_a_library_repeats_is_masked(monkeypatch, name):
    monkeypatch.setenv(name, "0123456789\r")
    assert masked("in header value: 'Bearer 0123456789\\r'") == "in header value: 'Bearer ***\\r'"
    monkeypatch.setenv(name, "runs")
    assert masked("runs could not be read") == "runs could not be read"


def test_a_location_shows_no_password_when_it_is_printed():
    location = resolve_location(f"postgresql://me:{SECRET}@host/runs")
    assert SECRET not in f"{location} {location.shown}"


def test_what_a_library_says_is_told_without_the_password():
    said = ConnectionError(f"API request to http://me:{SECRET}@host:5000/api/2.0/mlflow failed: refused")
    assert str(explain("Metrics could not be logged", said)).startswith(
        "Metrics could not be logged: API request to http://me:***@host:5000/api/2.0/mlflow failed: refused"
    )


@pytest.mark.parametrize("address", ["postgresql://me:a b@host/x", "postgresql://me:a/b@host/x", "http://host:port/"])
def test_an_address_that_cannot_be_taken_apart_is_refused_with_what_to_write(address):
    with pytest.raises(TrackingError, match=r"The tracking address \w+://\.\.\. cannot be read") as caught:
        resolve_location(address)
    assert "%XX" in caught.value.hint


def test_a_link_to_a_server_has_no_login():
    assert without_login(f"https://me:{SECRET}@host:5000/mlflow") == "https://host:5000/mlflow"
    assert without_login("http://host:5000") == "http://host:5000"

    class Store:
        location = resolve_location(f"https://me:{SECRET}@host:5000")

    assert compare_address(Store(), "1", ["a", "b"]).startswith("https://host:5000/#/compare-runs")


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_command_whose_store_cannot_be_reached_does_not_tell_the_password(capsys, monkeypatch, tmp_path, flags):
    monkeypatch.chdir(tmp_path)
    uri = f"postgresql://me:{SECRET}@127.0.0.1:1/runs"
    said = Terminal(capsys)("runs", "list", "--tracking-uri", uri, *flags)
    assert said.code == 2
    assert "postgresql://me:***@127.0.0.1:1/runs" in said.out + said.err
    assert SECRET not in said.out + said.err


DRIVERS = {
    "postgresql": ("psycopg", "psycopg[binary]"),
    "postgresql+psycopg2": ("psycopg2", "psycopg2-binary"),
    "mysql": ("MySQLdb", "mysqlclient"),
    "mysql+pymysql": ("pymysql", "pymysql"),
}


@pytest.mark.parametrize("scheme", DRIVERS)
def test_the_driver_that_sqlalchemy_would_take_is_the_one_to_install(monkeypatch, scheme):
    import sqlalchemy

    module, package = DRIVERS[scheme]
    if scheme == "postgresql" and sqlalchemy.__version__ < "2.1":
        module, package = DRIVERS["postgresql+psycopg2"]
    monkeypatch.setitem(sys.modules, module, None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"{scheme}://me:{SECRET}@127.0.0.1:{server.getsockname()[1]}/runs"
        with pytest.raises(TrackingError, match="needs the driver") as caught:
            open_store(uri)
    assert f"pip install '{package}'" in caught.value.hint
    assert SECRET not in str(caught.value)
