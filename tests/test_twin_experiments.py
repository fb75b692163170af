"""Twin experiments for filters: reproducible seed by seed, the same for every method, and what does not fit."""

from dataclasses import replace

import numpy as np
import pytest

from l96kit import Lorenz96, Propagator
from l96kit.baselines import CycledFourDVar, ThreeDVar
from l96kit.filters import ETKF, LETKF, EnKF, ParticleFilter
from l96kit.localization import Localization
from l96kit.observation_operators import at_sites, every_site, rotating
from l96kit.scores import rmse
from l96kit.twin_experiments import TwinExperiment

SITES = 12
PROPAGATOR = Propagator(Lorenz96(SITES, 8.0), 0.01, "euler")
EXPERIMENT = TwinExperiment(PROPAGATOR, rotating(3, SITES), 0.5, every=2, cycles=6, seeds=(3, 5), spin_up=5.0)


def test_a_seed_alone_is_as_among_others():
    method = EnKF(6, 1.02, rotation=True)
    both, alone = EXPERIMENT.run(method), replace(EXPERIMENT, seeds=[5]).run(method)
    for name in ("analysis", "forecast_rmse", "analysis_crps"):
        np.testing.assert_array_equal(getattr(both, name)[:, 1], getattr(alone, name)[:, 0])
    for name in ("ensemble", "analysis_ranks"):
        np.testing.assert_array_equal(getattr(both, name)[1], getattr(alone, name)[0])


def test_every_method_sees_the_same():
    np.testing.assert_array_equal(EXPERIMENT.ensemble(6), EXPERIMENT.ensemble(6))
    again = replace(EXPERIMENT)
    np.testing.assert_array_equal(again.truth, EXPERIMENT.truth)
    np.testing.assert_array_equal(again.observations.values, EXPERIMENT.observations.values)
    errors = EXPERIMENT.observations.values - EXPERIMENT.observations.of(EXPERIMENT.truth)
    assert errors.std() == pytest.approx(0.5, rel=0.3)


def test_the_truth_is_a_trajectory_of_the_simulator():
    simulator = Propagator(Lorenz96(SITES, 9.0), 0.005, "euler")
    truth = replace(EXPERIMENT, simulator=simulator).truth
    np.testing.assert_array_equal(simulator.forecast(truth[0], 4), truth[1])


def test_a_cycle_has_a_whole_number_of_steps_of_the_simulator():
    """Also where their ratio is not quite 3 in double precision."""
    simulator = Propagator(Lorenz96(SITES, 9.0), 0.0125, "euler")
    assert 0.0375 / simulator.dt < 3
    experiment = replace(EXPERIMENT, propagator=Propagator(Lorenz96(SITES, 9.0), 0.0375), simulator=simulator, every=1)
    np.testing.assert_array_equal(simulator.forecast(experiment.truth[0], 3), experiment.truth[1])


def test_all_that_is_true_comes_from_the_simulator():
    """Truth and first ensembles; the propagator makes forecasts."""
    simulator = Propagator(Lorenz96(SITES, 9.0), 0.005, "euler")
    imperfect = replace(EXPERIMENT, simulator=simulator)
    perfect = TwinExperiment(simulator, EXPERIMENT.operator, 0.5, every=4, cycles=6, seeds=(3, 5), spin_up=5.0)
    np.testing.assert_array_equal(imperfect.truth, perfect.truth)
    np.testing.assert_array_equal(imperfect.ensemble(6), perfect.ensemble(6))
    found = imperfect.run(ETKF(6, 1.02))
    ahead = rmse(PROPAGATOR.forecast(found.analysis[0], 4), imperfect.truth[2])
    np.testing.assert_allclose(imperfect.lead_errors(found, 2)[0, 0], ahead)


def test_ensembles_about_the_truth_have_the_spread_asked_for():
    wide, narrow = (replace(EXPERIMENT, start="truth", spread=spread).ensemble(400) for spread in (1.0, 0.1))
    assert wide.std(axis=1).mean() == pytest.approx(1.0, rel=0.02)
    assert narrow.std(axis=1).mean() == pytest.approx(0.1, rel=0.02)
    start = wide - (wide - narrow) / 0.9
    np.testing.assert_allclose(start, start[:, :1].repeat(400, axis=1), atol=1e-12)
    np.testing.assert_allclose(PROPAGATOR.forecast(start[:, 0], 2), EXPERIMENT.truth[0], atol=1e-10)


@pytest.mark.parametrize("start", ["climatology", "truth"])
def test_a_filter_finds_the_truth(start):
    experiment = replace(EXPERIMENT, operator=every_site(SITES), cycles=300, every=5, start=start)
    found = experiment.run(LETKF(6, 1.03, localization=Localization(2.0)))
    averages = found.averages(burn_in=100)
    assert (averages["analysis_rmse"] < 0.3).all() and (averages["analysis_rmse"] < averages["forecast_rmse"]).all()
    assert (averages["analysis_crps"] < averages["analysis_rmse"]).all()
    assert found.analysis_ranks.sum(axis=-1).tolist() == [300 * SITES] * 2


BAD = {
    "no propagator": (
        TypeError,
        "propagator: expected l96kit.Propagator, found Lorenz96",
        {"propagator": Lorenz96(12)},
    ),
    "no operator": (TypeError, "operator: expected an ObservationOperator, found int", {"operator": 3}),
    "no cycles": (ValueError, "cycles: expected at least 1, found 0", {"cycles": 0}),
    "a seed twice": (ValueError, "seeds: expected numbers that differ", {"seeds": (1, 1)}),
    "start": (ValueError, "start: expected one of 'climatology', 'truth'", {"start": "rest"}),
    "sigma": (ValueError, "sigma: expected a positive finite number", {"sigma": -1.0}),
    "covariance": (ValueError, "cov: expected a positive definite matrix", {"cov": -np.eye(4), "sigma": None}),
    "sigma and covariance": (ValueError, "sigma: expected None with a cov", {"cov": np.eye(4)}),
    "another state": (ValueError, "operator: expected one for the 12 sites", {"operator": at_sites([0], 13)}),
    "another step": (ValueError, "expected a step that divides", {"simulator": Propagator(Lorenz96(12), 0.013)}),
}


@pytest.mark.parametrize("error, message, change", BAD.values(), ids=BAD)
def test_bad_settings_are_refused(error, message, change):
    with pytest.raises(error, match=message):
        replace(EXPERIMENT, **change).run(ETKF(4))


def test_what_probabilistic_scores_cost_may_be_saved():
    for wanted in (True, False):
        found = EXPERIMENT.sweep(ETKF(6), probabilistic=wanted, inflation=[1.0, 1.1])
        assert (found.analysis_ranks is not None) == np.isfinite(found.analysis_crps).all() == wanted


def test_a_method_must_be_a_filter():
    with pytest.raises(TypeError, match="method: expected a filter such as"):
        EXPERIMENT.run("ETKF")


def test_a_baseline_sees_the_same():
    experiment = replace(EXPERIMENT, operator=every_site(SITES), cycles=100, every=5)
    found = experiment.run(CycledFourDVar(0.2 * np.eye(SITES), lag=2))
    assert found.analysis.shape == (100, 2, SITES)
    assert (found.analysis_rmse[50:].mean(axis=0) < 0.4).all()
    assert (found.averages(burn_in=50)["analysis_rmse"] < 0.4).all() and not found.blew_up.any()
    later = PROPAGATOR.forecast(found.analysis[80], 10)
    np.testing.assert_allclose(experiment.lead_errors(found, 2, burn_in=80)[0, 0], rmse(later, experiment.truth[82]))
    with pytest.raises(TypeError, match="method: expected a filter such as"):
        experiment.run("4D-Var")
    with pytest.raises(TypeError, match="probabilistic: expected True or False"):
        experiment.run(ThreeDVar(np.eye(SITES)), probabilistic="yes")


def test_errors_of_forecasts_ahead():
    found = EXPERIMENT.run(ETKF(6, 1.02))
    errors = EXPERIMENT.lead_errors(found, (0, 1, 3), burn_in=1, stride=2)
    assert errors.shape == (3, 1, 2)
    later = PROPAGATOR.forecast(found.analysis[1], 6)
    np.testing.assert_allclose(errors[0, 0], found.analysis_rmse[1])
    np.testing.assert_allclose(errors[2, 0], rmse(later, EXPERIMENT.truth[4]))
    with pytest.raises(ValueError, match="leads: expected forecasts that end within the 6 cycles"):
        EXPERIMENT.lead_errors(found, 6)
    with pytest.raises(ValueError, match="found: expected means of analyses"):
        EXPERIMENT.lead_errors(EXPERIMENT.run(ETKF(6, 1.02), keep="scores"), 1)


def test_a_sweep_is_one_run_for_each_value():
    method, values = EnKF(6, rotation=True), (1.0, 1.1)
    found = EXPERIMENT.sweep(method, inflation=values)
    assert found.analysis.shape == (6, 2, 2, SITES)
    for index, value in enumerate(values):
        alone = EXPERIMENT.run(replace(method, inflation=value))
        np.testing.assert_array_equal(found.analysis[:, index], alone.analysis)
    four_d_var = EXPERIMENT.sweep(CycledFourDVar(np.eye(SITES)), scale=[0.1, 0.2])
    alone = EXPERIMENT.run(CycledFourDVar(np.eye(SITES), 0.2))
    np.testing.assert_array_equal(four_d_var.analysis[:, 1], alone.analysis)
    copies = EXPERIMENT.sweep(ParticleFilter(6), jitter=[0, 1])
    np.testing.assert_array_equal(copies.analysis[:, 1], EXPERIMENT.run(ParticleFilter(6)).analysis)
    with pytest.raises(TypeError, match="values: expected one keyword"):
        EXPERIMENT.sweep(method)


def test_a_truth_is_not_to_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        EXPERIMENT.truth[0] = 0


def test_lead_errors_of_other_experiments_are_refused_and_those_that_blow_up_are_nan():
    swept = EXPERIMENT.sweep(ETKF(6), inflation=[1.0, 1.5])
    with pytest.raises(ValueError, match=r"found: expected analyses \(6, 2, 12\)"):
        EXPERIMENT.lead_errors(swept, 1)
    found = EXPERIMENT.run(ETKF(6))
    analysis = found.analysis.copy()
    analysis[3, 0] *= 1e100
    errors = EXPERIMENT.lead_errors(replace(found, analysis=analysis), (0, 2))
    assert np.isnan(errors[1, 3, 0]) and np.isfinite(errors[:, :3]).all() and np.isfinite(errors[:, :, 1]).all()


BAD_SWEEPS = {
    "a name": (ValueError, "values: expected 'inflation' of ETKF, found 'members'", {"members": [4, 5]}),
    "nothing": (ValueError, "inflation: expected a sequence of numbers", {"inflation": []}),
    "radius": (ValueError, "of others, run a method for each", {"radius": [1.0, 2.0]}),
    "a number": (ValueError, "inflation: expected a sequence of numbers", {"inflation": 1.0}),
    "a word": (TypeError, "inflation: expected positive numbers", {"inflation": ["one"]}),
}


@pytest.mark.parametrize("error, message, values", BAD_SWEEPS.values(), ids=BAD_SWEEPS)
def test_bad_sweeps_are_refused(error, message, values):
    with pytest.raises(error, match=message):
        EXPERIMENT.sweep(ETKF(6), **values)
