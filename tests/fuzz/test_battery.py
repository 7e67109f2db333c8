"""Every input that was ever an attack, each in a process of its own; `python -m tests.fuzz` tries
thousands more.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_known_attacks_end_in_one_line_or_the_right_value():
    asked = ("--inputs", "100", "--bits", "5", "--kills", "10", "--quiet", "--out", "")
    command = [sys.executable, "-m", "tests.fuzz", *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert done.stdout.splitlines()[-1].startswith("all ")


def test_a_crash_a_hang_and_a_payload_are_noticed(tmp_path):
    code = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, "tests/fuzz")
import harness
from harness import Input, attempt
from medaudit.core.errors import MedauditError

harness.SECONDS = 0.5

def busy(top):
    while True:
        pass

def forgetful(top):
    (top / "a").unlink()

ways = {
    "accepted": lambda top: None,
    "one line": lambda top: (_ for _ in ()).throw(MedauditError("x")),
    "traceback": lambda top: 1 / 0,
    "crash": lambda top: os.kill(os.getpid(), signal.SIGSEGV),
    "hang": busy,
    "memory": lambda top: bytearray(2**33),
    "lost": forgetful,
    "left behind": lambda top: (top / "b").write_text(""),
    "executed": lambda top: (top / "marker").write_text(""),
}
for name, read in ways.items():
    given = Input("x", name, lambda top: (top / "a").write_text("a"), read, lambda *_: True)
    print(name, attempt(given, Path(sys.argv[1]) / "room").found)
given = Input("x", "wrong", lambda top: None, lambda top: None, lambda *_: False)
print("wrong", attempt(given, Path(sys.argv[1]) / "room").found)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    told = dict(line.split(" (", 1) for line in done.stdout.splitlines())
    told = {name: found.strip("),").split("', '") for name, found in told.items()}
    for name, found in told.items():
        assert ("traceback" if name == "crash" else name) in " ".join(found), (name, found)
