"""docs/teams.md: the files that it shows are accepted by the programs that read them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TEAMS = (Path(__file__).parents[1] / "docs" / "teams.md").read_text(encoding="utf-8")


def shown(first_line):
    """The indented block that begins with a line."""
    (block,) = re.findall(rf"^    {re.escape(first_line)}\n(?:    .*\n|\n)*", TEAMS, re.MULTILINE)
    return textwrap.dedent(block)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed: apt-get install nginx-light")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_nginx_accepts_the_proxy(tmp_path):
    key = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mlflow.example.com", "-days", "1"]
    subprocess.run(
        [*key, "-keyout", "privkey.pem", "-out", "fullchain.pem"], cwd=tmp_path, check=True, capture_output=True
    )
    block = shown("server {").replace("/etc/letsencrypt/live/mlflow.example.com", str(tmp_path))
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{block}}}\n")
    said = subprocess.run(
        ["nginx", "-t", "-e", "stderr", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert "[warn]" not in said.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path):
    unit = tmp_path / "mlflow.service"
    unit.write_text(shown("[Unit]").replace("/srv/mlflow/venv/bin/mlflow", sys.executable))
    said = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
