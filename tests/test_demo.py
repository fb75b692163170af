"""The demonstration runs, is reproducible, and survives being stopped."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import h5py
import numpy as np
import pytest

from l96kit import Lorenz96, Propagator, demo, demo_emulator, demo_filters, store, twin
from l96kit.cli import main
from l96kit.filters import ETKF
from l96kit.observation_operators import rotating
from l96kit.twin_experiments import TwinExperiment

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


SLOW, FAST = (Propagator(Lorenz96(40, 8.0), dt) for dt in (0.05, 0.0125))


def test_figures_have_the_times_of_what_they_show(tmp_path, monkeypatch):
    rng, figures = np.random.default_rng(0), {}
    monkeypatch.setattr(store, "save_figure", lambda figure, path: figures.update({path.name: figure.axes[0]}))
    scores = dict.fromkeys(("background", "analysis", "forecast"), (np.ones(2), np.ones(2)))
    spectrum = SimpleNamespace(state=8 + rng.standard_normal(40), exponents=np.linspace(2, -4, 40))
    growth = {"spectrum": spectrum, "times": np.arange(11) * 0.05, "norms": rng.uniform(1, 2, (11, 3))}
    example = dict.fromkeys(("truth", "observed", "analysis", "error"), rng.standard_normal((9, 40)))
    rollout = dict.fromkeys(("simulator", "emulator", "error"), rng.standard_normal((5, 40)))
    demo._draw(tmp_path, [8, 24], scores, growth, example, rollout, (np.ones(7), np.ones(7)), SLOW, FAST)
    for name, step, count in (("hovmoller", 0.0125, 9), ("emulator", 0.05, 5), ("sensitivity", 0.05, 21)):
        low, high = sorted(figures[f"{name}.png"].get_ylim())
        assert high - low == pytest.approx(step * count), name
    for name, times in (("filter", 0.1 * np.arange(1, 8)), ("growth", growth["times"]), ("rmse", [0.1, 0.3])):
        np.testing.assert_allclose(figures[f"{name}.png"].lines[0].get_xdata(), times, err_msg=name)


def test_scores_of_the_demonstration_leave_out_what_they_should(monkeypatch, capsys):
    own = {"CYCLES": 8, "BURN_IN": 3, "METHODS": {"ETKF": ETKF(30, 1.1, rotation=True)}}
    for name, value in own.items():
        monkeypatch.setattr(demo_filters, name, value)
    drawn, variables = demo_filters.run(4, SLOW)
    found = TwinExperiment(SLOW, rotating(4, 40), 1.0, 2, 8, [4, 5, 6]).run(own["METHODS"]["ETKF"])
    np.testing.assert_array_equal(drawn, (found.analysis_rmse[:, 0], found.analysis_spread[:, 0]))
    for name in ("rmse", "spread", "crps"):
        dimensions, values = variables[f"filter_{name}"]
        assert dimensions == ("filter", "seed")
        np.testing.assert_allclose(values, [getattr(found, f"analysis_{name}")[3:].mean(axis=0)], rtol=1e-12)
    mean, deviation = variables["filter_rmse"][1].mean(), variables["filter_rmse"][1].std(ddof=1)
    assert f"{mean:.3f} +- {deviation:.3f}" in capsys.readouterr().out


def test_simulator_and_emulator_see_the_same_observations(tmp_path, monkeypatch, capsys):
    calls, rng = [], np.random.default_rng(1)

    def cycled(method, start, window, cycles, leads, rng, progress, simulator):
        calls.append((method.propagator, start, rng.standard_normal(5), simulator))
        return SimpleNamespace(analysis_rmse=scores[len(calls) - 1], forecast_rmse=scores)

    scores = rng.uniform(size=(2, 5, 3))
    monkeypatch.setattr(twin, "cycled_fourdvar", cycled)
    monkeypatch.setattr(demo_emulator, "STEPS", 200)
    monkeypatch.setattr(demo_emulator, "STATES", 3)
    monkeypatch.setitem(demo_emulator.KINDS, "small", demo_emulator.KINDS["small"]._replace(epochs=1500))
    fields, variables = demo_emulator.run(tmp_path, "small", 3, rng, SLOW, FAST, 3, 5, 2)
    (simulator, start, numbers, truth), (emulator, other_start, other_numbers, other_truth) = calls
    assert simulator is truth is other_truth is FAST and emulator.dt == FAST.dt and (tmp_path / "emulator.h5").exists()
    np.testing.assert_array_equal(start, other_start)
    np.testing.assert_array_equal(numbers, other_numbers)
    np.testing.assert_allclose(variables["emulator_analysis_rmse"][1], scores[:, 2:].mean(axis=1), rtol=1e-14)
    np.testing.assert_array_equal(fields["error"], fields["emulator"] - fields["simulator"])
    np.testing.assert_allclose(SLOW.trajectory(fields["simulator"][0], 60), fields["simulator"], rtol=1e-9)
    assert variables["emulator_rollout_rmse"][1].shape == (61,) and variables["emulator_rollout_rmse"][1][0] == 0


def test_bad_arguments_are_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file")]) == 2
    assert "expected a folder that can be written to" in capsys.readouterr().err
    assert main(["demo", "--out", str(tmp_path / "new"), "--windows", "1"]) == 2
    assert "windows: expected at least 2, found 1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize("error", [ValueError, TypeError, OSError, ArithmeticError, MemoryError])
def test_what_goes_wrong_is_said_in_one_line(error, capsys, monkeypatch):
    def run(*_):
        raise error("what was found")

    monkeypatch.setattr(demo, "run", run)
    assert main(["demo"]) == 2
    assert capsys.readouterr().err == "l96kit demo: what was found\n"


def test_help_suffices(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in ("--seed", "--out", "--windows", "--truths", "--cycles", "--emulator", "default"):
        assert option in text
