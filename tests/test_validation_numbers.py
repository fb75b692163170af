"""The numbers that evidence is made of, against formulas in NumPy: what is averaged over what, and in which units.

What takes long, filters, peers and trainings, is replaced by what gives known numbers.
"""

import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from l96kit.filters import ETKF, LETKF
from l96kit.validation import (
    _dapper,
    _emulator_errors,
    _record,
    _speed_filters,
    _timing,
    filters,
    fourdvar,
    fuzz,
    gradients,
    ptx,
    speed,
)
from l96kit.validation._trained import data, emulator, simulated, simulator


def test_intervals_are_those_of_students_t():
    values, quantile = np.array([1.0, 2.0, 6.0]), 4.302652729911275  # of 97.5 %, two degrees of freedom
    half = quantile * np.sqrt(((values - 3) ** 2).sum() / 2) / np.sqrt(3)
    assert _record.interval(values) == f"3 +- {half:.2g}"
    assert _record.interval([0.12345]) == "0.123"


def test_tables_have_columns_of_one_width():
    assert _record.markdown(("a", "long"), [("bcd", 1)]) == "| a   | long |\n|-----|------|\n| bcd | 1    |"


# --- times ------------------------------------------------------------------------------------------------------------


def test_ratios_have_a_median_and_quartiles_and_a_verdict():
    row = _timing.row("what", [1.0, 2.0, 3.0, 8.0, 9.0], 3.0)
    assert row["ratio"] == {"median": 3.0, "quartiles": [2.0, 8.0], "rounds": 5}
    assert [_timing.row("", [3.0], *bar)["met"] for bar in ((3,), (4,), (4, False), (2, False), (None,))] == [
        *(True, False, True, False),
        None,
    ]


def test_short_calls_are_repeated_and_times_are_those_of_one(monkeypatch):
    repeats = []

    def seconds_of(call, count=1):
        repeats.append(count)
        return call()

    monkeypatch.setattr(_timing, "seconds_of", seconds_of)
    found = _timing.in_turn([lambda: 0.01, lambda: 3.0], 2, "")
    assert found.tolist() == [[0.01, 0.01], [3.0, 3.0]]
    assert repeats[-4:] == [4, 1, 4, 1]  # 0.04 seconds at least, one right after the other


def test_times_of_filters_are_those_of_a_cycle_and_of_one_experiment():
    cycles, one, peer, many = 200, np.array([2.0, 2.0]), np.array([30.0, 50.0]), np.array([64.0, 64.0])
    alone, each = _speed_filters.against_dapper("X", 8, cycles, one, peer, many)
    assert (alone["ratio"]["median"], each["ratio"]["median"]) == (20, 40)
    assert (alone["bar"], each["bar"]) == (8, 12)
    assert [alone[name]["median"] for name in ("seconds", "peer_seconds")] == [0.01, 0.2]
    assert each["seconds"]["median"] == pytest.approx(1 / cycles)
    x = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(_speed_filters.repeated(x, (4,)), np.repeat(x[:, None], 4, axis=1))
    assert np.array_equal(_speed_filters.repeated(x, ()), x)


# --- filters ----------------------------------------------------------------------------------------------------------

BURN_IN, SCORED, SEEDS = 3, 5, 2
INFLATIONS = 1.0, 1.1, 1.2


class Experiment:
    """Of which all errors are known: the later, the smaller, and seed 1 of the second inflation is lost."""

    rmse = (10.0 - np.arange(BURN_IN + SCORED))[:, None, None] + np.array([[3.0, 4.0], [0.0, np.nan], [1.0, 2.0]])

    def run(self, method, **_):
        return SimpleNamespace(analysis_rmse=self.rmse[:, 0])

    def sweep(self, method, inflation, **_):
        assert inflation == INFLATIONS
        return SimpleNamespace(analysis_rmse=self.rmse)


def test_scores_are_means_over_the_last_cycles():
    expected = [np.mean([10 - t + offset for t in range(BURN_IN, BURN_IN + SCORED)]) for offset in (3, 4)]
    np.testing.assert_allclose(filters.scores(Experiment(), None, SCORED), expected)


def test_a_setting_that_loses_a_seed_is_not_the_best():
    found = filters.scores_of_all(ETKF(4), "inflation", INFLATIONS, Experiment(), SCORED)
    last = np.mean(10.0 - np.arange(BURN_IN, BURN_IN + SCORED))
    np.testing.assert_allclose(found, [last + 3.5, np.inf, last + 1.5])


def test_tuning_goes_through_the_whole_grid(monkeypatch):
    calls = []

    def scores_of_all(trial, name, values, *_):
        calls.append((trial.localization.radius, trial.rotation, name, tuple(values)))
        best = trial.localization.radius == 4.0 and trial.rotation
        return np.array([np.inf, *np.full(len(values) - 2, 2.0), 0.5 if best else 1.0])

    monkeypatch.setattr(filters, "scores_of_all", scores_of_all)
    best, least, settings = filters.tuned("LETKF", 7, None, SCORED, "")
    assert {call[:2] for call in calls} == {(radius, turned) for radius in filters.RADII for turned in (False, True)}
    assert settings == len(calls) * len(filters.INFLATIONS) == 240 and least == 0.5
    own = best.members, best.inflation, best.rotation, best.localization.radius
    assert isinstance(best, LETKF) and own == (7, filters.INFLATIONS[-1], True, 4.0)


def test_the_best_setting_is_scored_with_other_seeds_than_it_was_tuned_with(monkeypatch):
    scored, options = [], SimpleNamespace(cycles=10, seeds=3, quick=False)
    monkeypatch.setattr(filters, "choices", lambda *_: [("ETKF", 4, 0.5)])
    monkeypatch.setattr(
        filters, "tuned", lambda method, members, tuning, *_: (scored.append(tuning), ETKF(4), 0.0, 1)[1:]
    )
    monkeypatch.setattr(filters, "scores", lambda experiment, *_: scored.append(experiment) or np.zeros(2))
    filters.table(next(iter(filters.SYSTEMS)), options)
    tuning, *others = (set(experiment.seeds) for experiment in scored)
    assert len(tuning) == 3 and len(others) == len(filters.STARTS)
    assert all(len(own) == filters.SCORED and not own & tuning for own in others)


def test_hours_of_dapper_are_projected_from_its_seconds(monkeypatch):
    monkeypatch.setattr(filters, "tuned_on", lambda *_: None)
    monkeypatch.setattr(filters, "seconds_of_dapper", lambda experiment, members: 6.0 * members)
    rows = [{"kind": "LETKF", "members": 5, "settings": 240, "cycles": 1000}, {"kind": "iEnKS"}]
    filters.project_dapper(rows, None, seeds=3, cycles=60)
    assert rows[0]["dapper_hours"] == pytest.approx(6.0 * 5 / 60 * 240 * 3 * 1100 / 3600)
    assert "dapper_hours" not in rows[1]


def test_dapper_has_the_truth_at_our_observation_times(monkeypatch):
    """The first state of its series is that of time zero, which nobody observes."""
    truth, values = np.arange(1.0, 25.0).reshape(4, 2, 3), np.arange(8.0).reshape(4, 2, 1)
    observations = SimpleNamespace(values=values[:, :1])
    experiment = SimpleNamespace(seeds=(5,), truth=truth[:, :1], observations=observations, every=3, cycles=4)
    given = []
    peer = SimpleNamespace(assimilate=lambda *args: given.extend(args))
    seeding = ModuleType("dapper.tools.seeding")
    seeding.set_seed = lambda seed: None
    for name in ("dapper", "dapper.tools"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "dapper.tools.seeding", seeding)
    for name, value in (("quiet", None), ("peer_of", peer), ("_markov_model", "model")):
        monkeypatch.setattr(_dapper, name, lambda *_, value=value: value)
    assert _dapper.run(experiment, None) is peer
    model, xx, yy = given
    assert model == "model" and xx.shape == (13, 3)
    np.testing.assert_array_equal(xx[[3, 6, 9, 12]], truth[:, 0])
    np.testing.assert_array_equal(yy, values[:, 0])


# --- 4D-Var and emulators ---------------------------------------------------------------------------------------------


def test_windows_of_the_spin_up_are_not_scored(monkeypatch):
    """Two time units of cycling come first: of 40 steps of 0.0125, four windows."""
    rng, truths, given = np.random.default_rng(0), 3, []

    def cycled_fourdvar(method, start, window, cycles, leads, rng, progress):
        given.append((window, cycles, leads))
        return found

    names = "background_rmse", "analysis_rmse", "evaluations"
    found = SimpleNamespace(
        **{name: rng.random((10, truths)) for name in names}, forecast_rmse=rng.random((2, 10, truths))
    )
    monkeypatch.setattr(fourdvar.twin, "spun_up", lambda *_: None)
    monkeypatch.setattr(fourdvar.twin, "cycled_fourdvar", cycled_fourdvar)
    (row,) = fourdvar.score([40], truths, 3.0, 0, progress=False)
    assert given == [(40, 10, (0, 80))]
    assert row["window"] == 40 and row["cycles"] == 6
    assert row["evaluations"] == pytest.approx(found.evaluations[4:].mean())
    assert row["median analysis"] == pytest.approx(np.median(found.analysis_rmse[4:]))
    series = {
        "background": found.background_rmse,
        "analysis": found.analysis_rmse,
        "end of window": found.forecast_rmse[0],
        "80 steps later": found.forecast_rmse[1],
    }
    for name, scores in series.items():
        of_truths = scores[4:].sum(axis=0) / 6
        deviation = np.sqrt(((of_truths - of_truths.mean()) ** 2).sum() / (truths - 1))
        np.testing.assert_allclose(row[name], [of_truths.mean(), deviation])


def test_errors_of_an_emulator_are_means_over_states():
    weights = np.random.default_rng(1).standard_normal(20) * 0.01
    run, truth, x = emulator("sqNet", weights), simulator(), simulated(1, 12, 3, dtype=float)[-1]
    one_step, jacobian, rollout = _emulator_errors.errors_of(run, x, 3)
    expected = []
    for state in x:
        y, found, errors = state, state, [0.0]
        for _ in range(3):
            y, found = truth.step(y), run.step(found)
            errors.append(np.sqrt(np.mean((found - y) ** 2)))
        expected.append((errors[1], np.sqrt(((run.jacobian(state) - truth.jacobian(state)) ** 2).sum()), errors))
    np.testing.assert_allclose(one_step, np.mean([own[0] for own in expected]))
    np.testing.assert_allclose(jacobian, np.mean([own[1] for own in expected]))
    np.testing.assert_allclose(rollout, np.mean([own[2] for own in expected], axis=0))


def test_columns_of_figure_2_are_at_the_times_that_they_say(monkeypatch):
    """A step is 0.05: 0.6 time units are 12 steps after the start, 1.8 are 36."""
    rollout = np.arange(101.0)
    monkeypatch.setattr(_emulator_errors, "independent_states", lambda *_: None)
    monkeypatch.setattr(_emulator_errors, "trained", lambda *_: ([0, 1], {"updates": [7, 8, 9]}))
    monkeypatch.setattr(_emulator_errors, "emulator", lambda name, weights: weights)
    monkeypatch.setattr(_emulator_errors, "errors_of", lambda run, x: (0.5 + run, 0.25, rollout))
    monkeypatch.setattr(_emulator_errors, "_draw_errors", lambda *_: None)
    options = SimpleNamespace(networks=[("sqNet", 1200, np.float32)], states=2, seeds=2, store=False)
    text, variables, _ = _emulator_errors.figure_2(options)
    (row,) = [line for line in text.splitlines() if line.startswith("| sqNet")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "sqNet, N = 1,200, float32" and cells[1] == "0.5, 1.5" and cells[-1] == "7, 8"
    assert [cell.split(" +- ")[0] for cell in cells[2:-1]] == ["1", "0.25", "12", "36"]
    assert variables["sqNet_1200_float32_rollout_rmse"][1].shape == (2, 101)


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "missing", "status"),
    [({}, ([], []), 0), ({}, (["scores.rmse"], []), 1), ({}, ([], ["scores.gone"]), 1), ("a case", ([], []), 1)],
)
def test_the_fuzzer_fails_where_something_is_wrong_or_left_out(found, missing, status, monkeypatch, capsys):
    wrong = {fuzz.Case("scores.rmse", "x", "junk", "None"): "raises"} if found else {}
    for name, value in (("entries", {}), ("missing", missing), ("drawn", []), ("run", wrong)):
        monkeypatch.setattr(fuzz, name, lambda *_, value=value, **__: value)
    assert fuzz.main([]) == status


@pytest.mark.parametrize(("spills", "status"), [(0, 0), (8, 1)])
def test_kernels_that_spill_do_not_hold(spills, status, monkeypatch, capsys):
    found = ptx.Assembled("k", "shared", "float64", "sm_80", 32, spills, 0)
    monkeypatch.setattr(gradients, "run_all", lambda *_: [found])
    assert gradients.main(["--target", "ptx"]) == status
    assert ("spills: expected none, found 8 bytes" in capsys.readouterr().out) == bool(spills)


# --- where results come from ------------------------------------------------------------------------------------------


def test_a_commit_is_marked_where_files_differ_from_it(tmp_path, monkeypatch):
    def git(*arguments):
        own = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(own, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "validation").mkdir()
    source = tmp_path / "validation" / "source.py"
    source.write_text("1\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    monkeypatch.setattr(_record, "HERE", source.parent)
    assert _record.provenance()["commit"] == git("rev-parse", "--short=12", "HEAD")
    source.write_text("2\n")
    assert _record.provenance()["commit"] == git("rev-parse", "--short=12", "HEAD") + "-dirty"


def test_no_trajectory_serves_for_both_training_and_validation():
    """Of 65 time units those from 5 to 52 and from 52 to 58.5, one state of each 0.05."""
    training, validation = data(1200)
    assert training.shape == (941, 1, 40) and validation.shape == (131, 1, 40)
    np.testing.assert_array_equal(training[-1], validation[0])


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system cannot keep a process on cores")
def test_two_threads_have_all_cores_again(monkeypatch):
    pinned = []
    monkeypatch.setattr(speed, "pin", pinned.append)
    monkeypatch.setattr(speed, "cores_of_this_process", lambda: [0, 1])
    for name in ("against_peers", "scaling", "fresh_processes"):
        monkeypatch.setattr(speed, name, lambda *_: [])
    monkeypatch.setattr(speed._speed_spectral, "measure", lambda *_: [])
    monkeypatch.setattr(speed, "two_threads", lambda _: [list(pinned)])
    assert speed.measure([], True, "")["figures"] == [[[0], [0, 1]]]
