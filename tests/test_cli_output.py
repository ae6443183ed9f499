"""What is printed in a terminal: no line is wider than it, no word is broken, and pipes get plain lines."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from regplug.cli.output import bold, table_lines, wrapped

WORDS = ("a long summary of several words", "Goodfellow, Shlens and Szegedy 2015", "name_of_a_component")


def test_a_line_is_wrapped_between_words_and_keeps_its_indentation():
    line = "    This takes bundles/1f0c2a9b/with-a-name-that-is-long and nothing else."
    assert wrapped(line, None) == wrapped(line, 80) == line
    parts = wrapped(line, 30).split("\n")
    assert all(part.startswith("    ") for part in parts)
    assert " ".join(parts).split() == line.split()


@pytest.mark.parametrize("width", [40, 50, 60, 80])
def test_a_table_fits_without_breaking_words(width):
    rows = [(WORDS[2], WORDS[0], WORDS[1]), ("b", "short", "x")]
    lines = table_lines(("component", "summary", "source"), rows, folds="summary", width=width)
    assert all(len(line) <= max(width, 46) for line in lines)
    assert {word for text in rows[0] for word in text.split()} <= set(" ".join(lines).split())


def test_headings_are_plain_if_no_color_is_wanted(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" in bold("name")
    monkeypatch.setenv("NO_COLOR", "1")
    assert bold("name") == "name"


def in_terminal(args, width, **variables):
    """Returns what a command prints in a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    command = [sys.executable, "-m", "regplug", *args]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=kept | variables)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 65536):
            text += part
    except OSError:  # Linux raises at the end of a terminal
        pass
    process.wait()
    os.close(ours)
    return text.decode().replace("\r\n", "\n")


COMMANDS = (
    ["plugins", "list"],
    ["plugins", "show", "dropout"],
    ["plugins", "doctor"],
    ["plan", "--reg", "dropout"],
    ["run", "--reg", "dropuot"],
    ["inspect", "nothing"],
)


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("width", [pytest.param(60, marks=pytest.mark.slow), pytest.param(80, marks=pytest.mark.full)])
def test_no_line_is_wider_than_the_terminal(args, width):
    text = re.sub(r"\x1b\[[0-9;]*m", "", in_terminal(args, width))
    assert [line for line in text.splitlines() if len(line) > width and len(line.split()) > 1] == []


@pytest.mark.slow
def test_a_terminal_without_colour_gets_no_control_codes():
    assert "\x1b" not in in_terminal(["plugins", "list"], 80, NO_COLOR="1")


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error():
    command = f"set -o pipefail; {sys.executable} -m regplug plugins list | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
