"""The demonstration runs, is reproducible, and survives being stopped."""

import os
import random
import re
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from l96kit.cli import main

SMALL = ["--windows", "8", "16", "--truths", "2", "--cycles", "4"]


def test_the_demonstration(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "a"), "--seed", "3", *SMALL]) == 0
    text = capsys.readouterr().out
    assert float(re.search(r"leading Lyapunov exponent +([\d.]+)", text)[1]) == pytest.approx(1.67, abs=0.06)
    errors = re.findall(r"(\d\.\de[-+]\d\d) +(\d\.\d+)  (\d\.\d+)", text)
    assert len(errors) == 6
    for error, first, second in errors:
        assert float(error) <= 1e-13
        assert (float(first), float(second)) == pytest.approx((1, 2), abs=0.05)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    figures = {f"{name}.png" for name in ("hovmoller", "rmse", "sensitivity", "growth", "lyapunov", "emulator")}
    assert names == {"demo.h5", "emulator.h5"} | figures
    jacobian, norm = re.search(r"Jacobian of one step +differs by (\S+) of (\S+)", text).groups()
    assert float(jacobian) < 1e-3 * float(norm)

    assert main(["demo", "--out", str(tmp_path / "b"), "--seed", "3", *SMALL]) == 0
    with h5py.File(tmp_path / "a/demo.h5") as a, h5py.File(tmp_path / "b/demo.h5") as b:
        assert a.attrs["seed"] == 3
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def start(folder):
    command = [sys.executable, "-m", "l96kit.cli", "demo", "--out", str(folder), *SMALL]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})


def complete(folder):
    """Each file is either whole or still has its temporary name."""
    for path in folder.glob("demo.h5"):
        with h5py.File(path) as file:
            assert "analysis_rmse" in file and file["truth"].shape == file["error"].shape
    for path in folder.glob("*.png"):
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_stopping_it_leaves_no_broken_file(tmp_path, stop):
    whole = start(tmp_path / "whole")
    began = time.monotonic()
    assert whole.wait(timeout=300) == 0
    duration = time.monotonic() - began
    rng = random.Random(0)
    for trial in range(4):
        folder = tmp_path / str(trial)
        run = start(folder)
        time.sleep(duration * rng.uniform(0.5, 1.0))
        run.send_signal(stop)
        _, errors = run.communicate(timeout=300)
        complete(folder)
        if stop == signal.SIGINT and run.returncode == 130:
            assert "Traceback" not in errors and "nothing is half written" in errors
            assert not list(folder.glob(".*.part"))


def test_bad_arguments_are_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file")]) == 2
    assert "expected a folder that can be written to" in capsys.readouterr().err
    assert main(["demo", "--out", str(tmp_path), "--windows", "1"]) == 2
    assert "windows: expected at least 2, found 1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_help_suffices(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in ("--seed", "--out", "--windows", "--truths", "--cycles", "--emulator", "default"):
        assert option in text
