"""The demonstration runs, is reproducible, and survives being stopped."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest

from l96kit.cli import main

SMALL = ["--windows", "8", "16", "--truths", "2", "--cycles", "4"]


class Run(NamedTuple):
    """A demonstration that went to its end."""

    folder: Path
    text: str


def interruptible():
    """What a shell starts in the background ignores interrupts, and so does what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(folder):
    command = [sys.executable, "-m", "l96kit.cli", "demo", "--out", str(folder), "--seed", "3", *SMALL]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, env={**os.environ}, preexec_fn=interruptible)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "whole"
    run = start(folder)
    text, errors = run.communicate(timeout=600)
    assert run.returncode == 0, errors
    return Run(folder, text)


def test_the_demonstration(whole):
    assert float(re.search(r"leading Lyapunov exponent +([\d.]+)", whole.text)[1]) == pytest.approx(1.67, abs=0.06)
    errors = re.findall(r"(\d\.\de[-+]\d\d) +(\d\.\d+)  (\d\.\d+)", whole.text)
    assert len(errors) == 6
    for error, first, second in errors:
        assert float(error) <= 1e-13
        assert (float(first), float(second)) == pytest.approx((1, 2), abs=0.05)
    names = {path.name for path in whole.folder.iterdir()}
    figures = {
        f"{name}.png" for name in ("hovmoller", "rmse", "sensitivity", "growth", "lyapunov", "emulator", "filter")
    }
    assert names == {"demo.h5", "emulator.h5"} | figures
    jacobian, norm = re.search(r"Jacobian of one step +differs by (\S+) of (\S+)", whole.text).groups()
    assert float(jacobian) < 1e-3 * float(norm)


def complete(folder):
    """Each file is either whole or still has its temporary name."""
    for path in folder.glob("demo.h5"):
        with h5py.File(path) as file:
            assert "analysis_rmse" in file and file["truth"].shape == file["error"].shape
    for path in folder.glob("*.png"):
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")


@pytest.mark.parametrize("stop, written", [(signal.SIGINT, "emulator.h5"), (signal.SIGKILL, "demo.h5")])
def test_stopping_it_leaves_no_broken_file(stop, written, whole, tmp_path):
    """Once it has written the file named; others follow for some seconds."""
    run, began = start(tmp_path), time.monotonic()
    while not (tmp_path / written).exists() and run.poll() is None and time.monotonic() < began + 600:
        time.sleep(0.05)
    run.send_signal(stop)
    _, errors = run.communicate(timeout=600)
    complete(tmp_path)
    assert {path.name for path in tmp_path.glob("[!.]*")} < {path.name for path in whole.folder.glob("*")}
    if stop == signal.SIGINT:
        assert run.returncode == 130 and "Traceback" not in errors and "nothing is half written" in errors
        assert not list(tmp_path.glob(".*.part"))
        return
    assert start(tmp_path).wait(timeout=600) == 0  # again, where it was killed
    with h5py.File(whole.folder / "demo.h5") as a, h5py.File(tmp_path / "demo.h5") as b:
        assert a.attrs["seed"] == 3
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_bad_arguments_are_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file")]) == 2
    assert "expected a folder that can be written to" in capsys.readouterr().err
    assert main(["demo", "--out", str(tmp_path / "new"), "--windows", "1"]) == 2
    assert "windows: expected at least 2, found 1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_help_suffices(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in ("--seed", "--out", "--windows", "--truths", "--cycles", "--emulator", "default"):
        assert option in text
