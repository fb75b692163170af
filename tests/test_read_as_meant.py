"""What is read is what was meant: masks are never lost, narrow numbers never wrap, what is wrong is said in words."""

import numpy as np
import pytest
import xarray as xr

from l96kit import (
    FourDVar,
    KuramotoSivashinsky,
    Lorenz63,
    Lorenz96,
    Propagator,
    Training,
    VissioLucarini20,
    complex_step,
    kaplan_yorke_dimension,
    plots,
)
from l96kit.baselines import climatology
from l96kit.checks import check_model, dot_test, taylor_test
from l96kit.ensemble_variational import FourDEnVar
from l96kit.filters import ETKF, LETKF
from l96kit.localization import TAPERS, Localization, places_of, ring_distance
from l96kit.networks import sq_net
from l96kit.observation_operators import at_sites, every_site, interpolation, linear, random_sites, rotating
from l96kit.observations import Observations, observe
from l96kit.scores import crps, rank_histogram, rmse, spread
from l96kit.twin_experiments import TwinExperiment

RNG = np.random.default_rng(0)
SITES = 9
PROPAGATOR = Propagator(Lorenz96(SITES, 8.0), 0.05)
WINDOWS = at_sites(np.arange(3)[None, :, None], SITES)  # one site for each of three windows
X = 8 + RNG.standard_normal((4, SITES))
MASKED = np.ma.array(X, mask=np.arange(X.size).reshape(X.shape) == 20)


# --- numbers of any type ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "dtype"), [(200, "uint8"), (100_000, "int32"), (300, "float16"), (2**40, "uint64"), (1e30, "float32")]
)
def test_scores_of_narrow_numbers_do_not_wrap(number, dtype):
    x, zero = np.full((3, SITES), number, dtype), np.zeros(SITES, dtype)
    np.testing.assert_allclose(rmse(x, zero), number, rtol=1e-6)
    np.testing.assert_allclose(rmse(zero, x), number, rtol=1e-6)
    np.testing.assert_allclose(crps(x, zero), number, rtol=1e-6)
    ensemble = np.concatenate([x[:1], 0 * x[:1]])
    np.testing.assert_allclose(spread(ensemble), number / np.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(rank_histogram(x, zero), [SITES, 0, 0, 0])


def test_scores_of_single_precision_stay_in_it():
    x, truth = X.astype("float32"), X[0].astype("float32")
    assert rmse(x, truth).dtype == spread(x).dtype == crps(x, truth).dtype == np.float32
    # as precise as the better of the two
    for found in (rmse(X, truth), rmse(x, X[0]), crps(X, truth), crps(x, X[0])):
        assert found.dtype == np.float64
    np.testing.assert_allclose(rmse(x, X[0]), np.sqrt(((x - X[0]) ** 2).mean(axis=-1)), rtol=1e-15)
    assert rmse(X, 0).shape == (4,) and rmse(X[0], X).shape == (4,)


def test_distances_of_unsigned_places_do_not_wrap():
    a, b = np.arange(SITES, dtype="uint8"), np.uint8(SITES - 1)
    np.testing.assert_array_equal(ring_distance(a, b, SITES), [1, 2, 3, 4, 4, 3, 2, 1, 0])


@pytest.mark.parametrize("taper", TAPERS)
def test_coefficients_of_whole_numbers_do_not_wrap(taper):
    distances = np.array([0, 5, -60, 100], "int8")
    found = Localization(60.0, taper).coefficients(distances)
    np.testing.assert_array_equal(found, Localization(60.0, taper).coefficients(distances.astype(float)))


def test_checks_take_whole_numbers_for_real_ones():
    whole = np.zeros(5, int)
    assert dot_test(lambda u: 3 * u, lambda v: 3 * v, whole) < 1e-15
    assert dot_test(lambda u: 3 * u, lambda v: 2 * v, whole) > 0.01
    assert taylor_test(np.sin, lambda h: h, whole)[0] == pytest.approx(1, abs=0.01)
    assert dot_test(lambda u: 0 * u, lambda v: 0 * v, whole) == 0.0


# --- masks ------------------------------------------------------------------------------------------------------------

MASKS = {
    "rmse": lambda: rmse(MASKED, X[0]),
    "rmse of a masked truth": lambda: rmse(X[0], MASKED),
    "spread": lambda: spread(MASKED),
    "crps": lambda: crps(X, MASKED[2]),
    "in a list": lambda: rmse([MASKED[2], X[0]], X[1]),
    "rows of a state": lambda: PROPAGATOR.step([MASKED[2], MASKED[1]]),
    "exponents": lambda: kaplan_yorke_dimension(MASKED[2]),
    "complex step": lambda: complex_step(np.exp, MASKED, X),
    "direction": lambda: complex_step(np.exp, X, MASKED),
    "check of a model": lambda: check_model(PROPAGATOR.model, MASKED),
    "dot test": lambda: dot_test(lambda u: MASKED * u, lambda v: X * v, X),
    "Taylor test": lambda: taylor_test(np.sin, lambda h: MASKED * h, X),
    "coefficients": lambda: Localization(2.0).coefficients(MASKED),
    "distance": lambda: ring_distance(MASKED, 0, SITES),
    "operator @ v": lambda: PROPAGATOR.linear_operator(X[0]) @ MASKED[2],
    "operator.H @ v": lambda: PROPAGATOR.linear_operator(X[0]).H @ MASKED[2],
    "operator @ matrix": lambda: PROPAGATOR.linear_operator(X[0]) @ MASKED.T,
    "matvec": lambda: PROPAGATOR.linear_operator(X[0]).matvec(MASKED[2]),
    "rmatvec": lambda: PROPAGATOR.linear_operator(X[0]).rmatvec(MASKED[2]),
    "forcing": lambda: Lorenz96(SITES, MASKED),
    "a masked number": lambda: Lorenz96(SITES, np.ma.masked),
    "a masked count": lambda: Lorenz96(np.ma.array(SITES, mask=True)),
    "a masked step": lambda: Propagator(Lorenz96(), np.ma.array(0.05, mask=True)),
    "change of a parameter": lambda: PROPAGATOR.step_tl(X, X, {"F": MASKED}),
    "J": lambda: PROPAGATOR.gradient(X, lambda y, t: (np.ma.masked, y), 2),
    "y_ad": lambda: PROPAGATOR.gradient(X, lambda y, t: (0.0, np.ma.array(y, mask=y > 8)), 2),
    "out": lambda: PROPAGATOR.step(X, out=np.ma.array(X, mask=X > 8)),
    "matrix": lambda: linear(MASKED),
    "places": lambda: interpolation(np.ma.array([1.0, 2.0], mask=[True, False]), SITES),
    "sigma": lambda: Observations(every_site(SITES), X, np.ma.array(0.5, mask=True)),
    "inflation": lambda: LETKF(4, np.ma.array([1.0, 1.1], mask=[True, False])),
}


@pytest.mark.parametrize("call", MASKS.values(), ids=MASKS)
def test_masks_are_never_lost(call):
    with pytest.raises((ValueError, TypeError), match="expected a number everywhere, found masked|found M|masked"):
        call()


def test_a_mask_that_hides_nothing_is_none():
    shown = np.ma.array(X, mask=False)
    np.testing.assert_array_equal(PROPAGATOR.trajectory(shown, 2), PROPAGATOR.trajectory(X, 2))
    np.testing.assert_array_equal(rmse(shown, X[0]), rmse(X, X[0]))


def test_products_with_an_operator_are_those_with_its_matrix():
    operator, matrix = PROPAGATOR.linear_operator(X[0], 2), PROPAGATOR.jacobian(X[0], 2)
    for v in (X[1], X.T, X[1].astype(int), xr.DataArray(X[1]), X[1].tolist(), X[1] * 1j):
        np.testing.assert_allclose(operator @ v, matrix @ np.asarray(v), rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(operator.H.H @ v, matrix @ np.asarray(v), rtol=1e-11, atol=1e-11)
        for transposed in (operator.T, operator.H):
            np.testing.assert_allclose(transposed @ v, matrix.T @ np.asarray(v), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(operator.rmatmat(X.T), matrix.T @ X.T, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose((operator.H * operator * 2) @ X[1], 2 * matrix.T @ matrix @ X[1], rtol=1e-10)
    with pytest.raises(ValueError, match=r"v: expected shape \(9,\) or \(9, column\), found \(4, 9\)"):
        operator @ X


# --- what a checker cannot judge --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 3])
def test_a_checker_passes_nothing_that_is_not_finite(bad, where):
    x = RNG.standard_normal(6)
    spoiled = np.where(np.arange(6) == where, bad, 1.0)
    assert np.isnan(taylor_test(np.sin, lambda h: spoiled * np.cos(x) * h, x)).all()
    assert np.isnan(taylor_test(lambda y: spoiled * np.sin(y), lambda h: np.cos(x) * h, x)).all()
    assert np.isnan(taylor_test(lambda y: y if (y == x).all() else spoiled * y, lambda h: h, x)).all()
    for tl, ad in ((spoiled, 1.0), (1.0, spoiled)):
        assert np.isnan(dot_test(lambda u, tl=tl: tl * u, lambda v, ad=ad: ad * v, x))
        with pytest.raises(AssertionError, match="dot test: expected"):
            dot_test(lambda u, tl=tl: tl * u, lambda v, ad=ad: ad * v, x, tolerance=1e300)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1.0, 1e30, 1e153, 1e200])
def test_a_wrong_adjoint_passes_at_no_scale(scale):
    x = RNG.standard_normal(6)
    assert not dot_test(lambda u: scale * u, lambda v: 1.5 * scale * v, x) < 1e-3
    right = dot_test(lambda u: scale * u, lambda v: scale * v, x)
    assert right < 1e-15 or scale == 1e200 and np.isnan(right)


def test_a_function_that_hardly_changes_is_not_called_linear():
    """Its remainder, and that of any wrong tangent, lies below the rounding of 1e13."""
    x = RNG.standard_normal(6)
    _, second = taylor_test(lambda y: 1e13 + np.sin(y), lambda h: 1.1 * np.cos(x) * h, x)
    assert np.isnan(second)
    first, second = taylor_test(lambda y: 3 * y, lambda h: 3 * h, x.astype("float32"))
    assert first == pytest.approx(1, abs=0.01) and second == np.inf


def test_a_tangent_of_another_shape_is_refused():
    x = RNG.standard_normal(6)
    with pytest.raises(ValueError, match=r"tl: expected arrays like those of forward, found shapes \[\(6,\)\]"):
        taylor_test(lambda y: (np.sin(y), y), lambda h: np.cos(x) * h, x)
    with pytest.raises(ValueError, match=r"tl: expected arrays like those of forward, found shapes \[\(1,\)\]"):
        taylor_test(np.sin, lambda h: h[:1], x)
    with pytest.raises(ValueError, match="direction: expected one that leads away from x"):
        taylor_test(np.sin, lambda h: h, x, 0 * x)


def test_a_complex_step_that_loses_its_way_is_refused():
    for forward in (np.abs, lambda z: z.real, lambda z: 3.0):
        with pytest.raises(TypeError, match="forward: expected complex numbers of complex ones, found float64"):
            complex_step(forward, X, X)


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        ([1, 0, -1], 3.0),
        ([0.1, 0.2, -0.3], 3.0),
        ([0.3, -0.1, -0.2], 3.0),
        ([0.0], 1.0),
        ([2, -2, -5], 2.0),
        ([1, 0], None),
    ],
)
def test_a_spectrum_that_adds_up_to_nothing_fills_its_space(exponents, dimension):
    assert kaplan_yorke_dimension(exponents) == (None if dimension is None else pytest.approx(dimension, rel=1e-15))


# --- localization -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [LETKF, FourDEnVar])
def test_localization_on_a_ring_of_one_site_is_refused(kind):
    observations = Observations(every_site(3), np.zeros((2, 1, 3)))
    method = kind(4, localization=Localization(0.1, "step"))
    expected = r"localization: expected a model of several sites for a radius of 0\.1, .*Localization\(np.inf\)"
    with pytest.raises(ValueError, match=expected):
        method.assimilate(Propagator(Lorenz63(), 0.01), observations, RNG.standard_normal((1, 4, 3)), rng=RNG)


def test_fields_of_one_site_lie_at_no_distance():
    model = VissioLucarini20(K=6)
    places = places_of(Localization(1.0), every_site(12), model.ring)[0]
    np.testing.assert_allclose(ring_distance(places[:6], places[6:], model.ring), 0, atol=1e-12)
    np.testing.assert_allclose(ring_distance(places[0], places, model.ring), [0, 1, 2, 3, 2, 1] * 2, atol=1e-12)


# --- in words, before any work ----------------------------------------------------------------------------------------

REFUSED = {
    "a matrix for sigma": (
        lambda: Observations(every_site(3), np.zeros((5, 3)), np.ones((3, 3))),
        ValueError,
        "sigma: expected a shape that broadcasts .*; a covariance .* is `cov`",
    ),
    "a diagonal for sigma": (
        lambda: Observations(every_site(3), np.zeros((5, 3)), np.eye(3)),
        ValueError,
        "sigma: expected positive finite numbers.*; a covariance .* is `cov`",
    ),
    "a matrix too large": (
        lambda: Propagator(Lorenz96(1_000_000), 0.05).jacobian(np.zeros(1_000_000)),
        MemoryError,
        r"jacobian: expected memory for 7\.45e\+03 GiB, found too little; use `linear_operator`",
    ),
    "a matrix of tendencies too large": (
        lambda: Lorenz96(1_000_000).jacobian(np.zeros(1_000_000)),
        MemoryError,
        r"jacobian: expected memory for 7\.45e\+03 GiB",
    ),
    "no cost": (lambda: PROPAGATOR.gradient(X, None, 2), TypeError, r"cost: expected a function of \(y, t\), found No"),
    "no batch": (lambda: Training(sq_net(), 0.05, batch=None), TypeError, "batch: expected a whole number, found None"),
    "an array for a name": (lambda: Propagator(Lorenz96(), 0.05, X), ValueError, "scheme: expected one of .*found arr"),
    "True for a count": (lambda: rotating(True, SITES), TypeError, "step: .*found True"),
    "digits": (lambda: rotating(10**5000, SITES), ValueError, "step: expected at most .* found a value of type int"),
    "more sites than memory": (lambda: every_site(2**50), MemoryError, "sites: expected memory for"),
    "more times than memory": (lambda: random_sites(3, SITES, 2**60, RNG), MemoryError, "sites: expected memory for"),
    "more states than memory": (
        lambda: climatology(PROPAGATOR, RNG, 2**60),
        MemoryError,
        "states: expected memory for",
    ),
    "no truth": (lambda: observe(None, 3, 1.0, RNG), TypeError, "truth: expected float32 or float64, found NoneType"),
    "sites of a score": (lambda: rmse(X, X[:, :1]), ValueError, "truth: expected states of as many sites as x"),
    "a score of a number": (lambda: rmse(3.0, 4.0), ValueError, "truth: expected states of as many sites"),
    "a window that there is not": (lambda: WINDOWS[3], IndexError, "window: expected a number below 3, found 3"),
    "more axes than windows have": (lambda: WINDOWS[0, 0], IndexError, "window: expected at most 1 numbers"),
    "states of other windows": (lambda: WINDOWS.observe(X), ValueError, r"x: expected shape \(..., 3, 9\), since each"),
    "an operator for each experiment": (
        lambda: ETKF(4).assimilate(PROPAGATOR, Observations(WINDOWS, np.zeros((2, 3, 1))), np.zeros((3, 4, SITES))),
        ValueError,
        "observations: expected one operator for all experiments, found one for each; run them one by one",
    ),
    "an operator for each seed": (
        lambda: TwinExperiment(PROPAGATOR, WINDOWS),
        ValueError,
        "operator: expected one for all seeds, found one for each; run them one by one",
    ),
    "parameters for each member": (
        lambda: ETKF(4).assimilate(
            Propagator(Lorenz96(SITES, np.linspace(7, 8, 4)[:, None]), 0.05),
            Observations(every_site(SITES), np.zeros((2, SITES))),
            X,
        ),
        ValueError,
        "propagator: expected the same parameters for all members, found some of their own",
    ),
    "no number for a distance": (
        lambda: Localization(2.0).coefficients([1.0, np.nan]),
        ValueError,
        "distance: expected numbers, found NaN; leave it out",
    ),
    "places before the first": (lambda: interpolation([-0.5], SITES), ValueError, "places: expected"),
    "spectra of several runs": (
        lambda: kaplan_yorke_dimension(np.ones((2, 3))),
        ValueError,
        "exponents: expected",
    ),
    "a ring too small for its waves": (lambda: KuramotoSivashinsky(15), ValueError, "sites: expected at least 16"),
    "a masked cost": (
        lambda: PROPAGATOR.gradient(X, lambda y, t: (np.ma.masked_all(()), np.zeros_like(y)), 2),
        ValueError,
        "J: expected a number everywhere, found masked ones",
    ),
    "no precision": (lambda: sq_net().initial_weights(RNG, dtype=None), TypeError, "dtype: expected float32"),
    "a grid of places": (lambda: interpolation(np.ones((2, 2)), SITES), ValueError, r"places: expected shape \(n,\)"),
    "nothing observed": (
        lambda: Observations(every_site(3), np.zeros((0, 3))),
        ValueError,
        r"values: expected at least one time, found shape \(0, 3\); observe something",
    ),
    "spreads of other cycles": (
        lambda: plots.spread_skill(np.ones(9), np.ones(8)),
        ValueError,
        r"rmse: expected shape \(9,\) like spread, found \(8,\); leave out the same cycles",
    ),
    "more classes than spreads": (
        lambda: plots.spread_skill(np.where(np.arange(9) < 2, np.nan, 1.0), np.ones(9), 8),
        ValueError,
        "bins: expected at most 7, as many as finite numbers, found 8; take fewer",
    ),
    "a forcing for other members": (
        lambda: PROPAGATOR.step_ad(X, X[:2]),
        ValueError,
        r"y_ad: expected shape \(4, 9\) like x, found \(2, 9\); give one forcing a member",
    ),
    "a complex cost": (
        lambda: PROPAGATOR.gradient(X, lambda y, t: (1j, np.zeros_like(y)), 2),
        TypeError,
        "cost: expected J of real numbers, found complex128; return one or one a member",
    ),
    "no leads": (
        lambda: TwinExperiment(PROPAGATOR, every_site(SITES)).lead_errors(None, []),
        ValueError,
        "leads: expected whole numbers of cycles, found none; give at least one",
    ),
    "gradients of parameters beyond their numbers": (
        lambda: Propagator(Lorenz96(SITES, 8.0), 1.0, "euler").step_ad(
            np.zeros((1, SITES), np.float32), np.full((1, SITES), 1e38, np.float32)
        ),
        OverflowError,
        "gradient: expected numbers within the range of float32, found more for F; use float64",
    ),
    "errors of the model beyond all numbers": (
        lambda: FourDVar(PROPAGATOR, np.ones(SITES), model_cov=np.ones(SITES)).trajectory(
            np.full(SITES, 1e308), 2, np.full((1, SITES), 1.7e308)  # where all sites are alike, they only decay
        ),
        OverflowError,
        "model_errors: expected finite states, found none at time 1; take smaller ones",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()
