"""The demonstration runs, is reproducible, and survives being stopped."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from l96kit import Lorenz96, Propagator, demo, demo_emulator, demo_filters, store, twin
from l96kit.cli import main, parser
from l96kit.filters import ETKF
from l96kit.observation_operators import rotating
from l96kit.twin_experiments import TwinExperiment

SMALL = ["--windows", "8", "16", "--truths", "2", "--cycles", "4"]


class Run(NamedTuple):
    """A demonstration that went to its end."""

    folder: Path
    text: str
    left_open: set  # figures


def interruptible():
    """What a shell starts in the background ignores interrupts, and so does what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(folder):
    command = [sys.executable, "-m", "l96kit.cli", "demo", "--out", str(folder), "--seed", "3", *SMALL]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, env={**os.environ}, preexec_fn=interruptible)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder, text = tmp_path_factory.mktemp("demo") / "whole", io.StringIO()
    before = set(plt.get_fignums())
    with contextlib.redirect_stdout(text):
        assert main(["demo", "--out", str(folder), "--seed", "3", *SMALL]) == 0
    return Run(folder, text.getvalue(), set(plt.get_fignums()) - before)


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
    assert names == {"demo.h5", "emulator.h5"} | figures and not whole.left_open
    jacobian, norm = re.search(r"Jacobian of one step +differs by (\S+) of (\S+)", whole.text).groups()
    assert float(jacobian) < 1e-3 * float(norm)


def test_the_file_of_the_demonstration_is_what_it_says(whole):
    """Its fields are those of one truth, its units and coordinates those of the runs, its numbers those of the text."""
    with xr.open_dataset(whole.folder / "demo.h5", engine="h5netcdf") as file:
        found = file.load()
    settings = {name: value for name, value in found.attrs.items() if name != "l96kit_version"}
    assert settings == {"model": "Lorenz-96", "K": 40, "F": 8.0, "dt": 0.0125, "scheme": "rk4", "seed": 3}
    for name, numbers, units in (
        ("window", [8, 16], "time steps"),
        ("time", np.arange(12 * 32) * 0.0125, "time units"),
        ("lead", np.arange(101) * 0.05, "time units"),
    ):
        np.testing.assert_allclose(found[name], numbers)
        assert found[name].units == units
    assert found.lyapunov_exponent.units == found.lyapunov_spread.units == "per time unit"
    sizes = {"exponent": 40, "start": 64, "model": 2, "twin": 2, "filter": 2, "seed": 3}
    assert dict(found.sizes).items() >= sizes.items()

    truth = found.truth.values
    np.testing.assert_allclose(FAST.step(truth[:-1]), truth[1:], atol=1e-9)
    np.testing.assert_array_equal(found.error, found.analysis - found.truth)
    np.testing.assert_array_equal(np.isfinite(found.observed).sum(axis=1), 10)
    assert 0.9 < float((found.observed - found.truth).std()) < 1.1
    inside = np.arange(len(truth) - 1) % 32 != 31
    np.testing.assert_allclose(FAST.step(found.analysis.values[:-1])[inside], found.analysis[1:][inside], atol=1e-9)
    np.testing.assert_allclose(found.gradient_length[0], 1)
    assert (np.diff(found.lyapunov_exponent) < 0).all() and 0 < found.lyapunov_spread.min() < 0.1

    exponent, deviation = found.lyapunov_exponent[0], found.lyapunov_spread[0]
    rows = [f"leading Lyapunov exponent    {exponent:.3f} +- {deviation:.3f} per"]
    logarithms = np.log(found.gradient_length.values[30:])  # from 1.5 time units on
    rate = np.polyfit(found.lead.values[30:], logarithms.sum(axis=1) / logarithms.shape[1], 1)[0]
    rows.append(f"growth of adjoint gradients  {rate:.3f} per")
    ahead = [f"{found.emulator_rollout_rmse[step]:.1e}" for step in (1, 12, 60)]
    rows.append(f"RMSE after 1, 12, 60 steps   {', '.join(ahead)}\n")
    for window, steps in enumerate((8, 16)):
        cells = [
            f"{found[f'{name}_rmse'][window]:>9.3f} +- {found[f'{name}_rmse_deviation'][window]:.3f}"
            for name in ("background", "analysis", "forecast")
        ]
        rows.append(f"{steps:>3} steps {steps * 0.0125:>5.2f}{''.join(cells)}\n")
    for model, own in zip(("simulator", "sqNet"), found.emulator_analysis_rmse.values):
        rows.append(f"{model:>14}{own.mean():>9.3f} +- {own.std(ddof=1):.3f}")
    for row in rows:
        assert row in whole.text


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
        assert run.returncode == 130, errors
        assert "Traceback" not in errors and "nothing is half written" in errors
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
    clock = iter((0.0, 1.2))  # seconds
    monkeypatch.setattr(demo_filters.time, "perf_counter", lambda: next(clock))
    drawn, variables = demo_filters.run(4, SLOW)
    found = TwinExperiment(SLOW, rotating(4, 40), 1.0, 2, 8, [4, 5, 6]).run(own["METHODS"]["ETKF"])
    np.testing.assert_array_equal(drawn, (found.analysis_rmse[:, 0], found.analysis_spread[:, 0]))
    for name in ("rmse", "spread", "crps"):
        dimensions, values = variables[f"filter_{name}"]
        assert dimensions == ("filter", "seed")
        np.testing.assert_allclose(values, [getattr(found, f"analysis_{name}")[3:].mean(axis=0)], rtol=1e-12)
    mean, deviation = variables["filter_rmse"][1].mean(), variables["filter_rmse"][1].std(ddof=1)
    printed = capsys.readouterr().out
    assert f"{mean:.3f} +- {deviation:.3f}" in printed and printed.split()[-1] == "50.00"  # ms, of 8 cycles of 3 seeds


def test_deviations_of_the_demonstration_are_those_between_truths():
    rng, names = np.random.default_rng(2), ("background", "analysis", "forecast")
    twins = {}
    for window in (8, 24):
        scores = dict(zip((f"{name}_rmse" for name in names), rng.uniform(size=(3, 9, 4))))
        twins[window] = SimpleNamespace(**scores | {"forecast_rmse": scores["forecast_rmse"][None]})
    found = demo._scores(twins)
    assert set(found) == set(names)
    for name in names:
        scores = np.stack([getattr(twin, f"{name}_rmse").reshape(9, 4) for twin in twins.values()])
        of_truths = scores[:, demo.SPIN_UP_CYCLES :].sum(axis=1) / (9 - demo.SPIN_UP_CYCLES)
        mean = of_truths.sum(axis=1) / 4
        deviation = np.sqrt(((of_truths - mean[:, None]) ** 2).sum(axis=1) / 3)
        np.testing.assert_allclose(found[name], (mean, deviation), rtol=1e-12)


def test_simulator_and_emulator_see_the_same_observations(tmp_path, monkeypatch, capsys):
    calls, rng = [], np.random.default_rng(1)

    def cycled(method, start, window, cycles, leads, rng, progress, simulator):
        assert window == 40 and leads == (40,) and progress
        calls.append((method.propagator, start, rng.standard_normal(5), simulator))
        return SimpleNamespace(analysis_rmse=scores[len(calls) - 1], forecast_rmse=scores[1:])

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


def test_options_are_numbers_with_the_defaults_that_help_says():
    options = vars(parser().parse_args(["demo"]))
    windows = [8, 24, 40, 56, 72]
    expected = {"seed": 0, "out": "l96kit-demo", "windows": windows, "truths": 5, "cycles": 8, "emulator": "small"}
    assert options == {"command": "demo", **expected}
    given = ["--seed", "4", "--out", "there", "--windows", "2", "3", "--truths", "6", "--cycles", "7"]
    expected = {"seed": 4, "out": "there", "windows": [2, 3], "truths": 6, "cycles": 7, "emulator": "deep"}
    assert vars(parser().parse_args(["demo", *given, "--emulator", "deep"])) == {"command": "demo", **expected}


def test_the_version_is_said(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"l96kit {version('l96kit')}\n"


def test_a_command_is_wanted(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2 and "the following arguments are required: COMMAND" in capsys.readouterr().err


def test_help_suffices(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in ("--seed", "--out", "--windows", "--truths", "--cycles", "--emulator", "default"):
        assert option in text
