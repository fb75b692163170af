"""Lyapunov exponents, singular vectors, sensitivities."""

import numpy as np
import pytest

from l96kit import Lorenz96, Propagator, kaplan_yorke_dimension, lyapunov_spectrum, sensitivity, singular_vectors

PROPAGATOR = Propagator(Lorenz96(40, 8.0), dt=0.05)


@pytest.fixture(scope="module")
def x():
    return PROPAGATOR.forecast(np.random.default_rng(0).standard_normal(40), 1000)


def test_the_spectrum_of_lorenz96(x):
    spectrum = lyapunov_spectrum(PROPAGATOR, x, 20_000)
    assert spectrum.exponents[0] == pytest.approx(1.67, abs=0.08)
    assert 12 <= spectrum.positive <= 14
    assert spectrum.dimension == pytest.approx(27, abs=0.8)
    # the divergence of the flow is -K, so the exponents add up to that, but for the truncation of the scheme
    assert spectrum.exponents.sum() == pytest.approx(-40, abs=0.2)


def test_leading_exponents_do_not_depend_on_how_many_are_asked_for(x):
    few = lyapunov_spectrum(PROPAGATOR, x, 4_000, count=3)
    all_of_them = lyapunov_spectrum(PROPAGATOR, x, 4_000)
    np.testing.assert_allclose(few.exponents, all_of_them.exponents[:3], atol=0.15)
    assert few.dimension is None


def test_the_exponents_of_a_linear_decay_are_known():
    """Without forcing everything decays to rest, where the tangent is exp(-t) in every direction."""
    spectrum = lyapunov_spectrum(Propagator(Lorenz96(8, 0.0), 0.05), np.zeros(8), 200, spin_up=100)
    np.testing.assert_allclose(spectrum.exponents, -1, atol=1e-6)
    assert spectrum.dimension == 0.0


@pytest.mark.parametrize(
    "exponents, dimension",
    [([1.0, 0.0, -2.0], 2.5), ([0.9, 0.0, -14.57], 2 + 0.9 / 14.57), ([-1.0], 0.0), ([0.0, -1.0], 1.0), ([2.0], None)],
)
def test_kaplan_yorke(exponents, dimension):
    assert kaplan_yorke_dimension(exponents) == (None if dimension is None else pytest.approx(dimension))


def test_singular_vectors_are_those_of_the_matrix(x):
    growth, initial, final = singular_vectors(PROPAGATOR, x, 20, 4)
    matrix = PROPAGATOR.jacobian(x, 20)
    np.testing.assert_allclose(growth, np.linalg.svd(matrix)[1][:4], rtol=1e-8)
    np.testing.assert_allclose(initial @ matrix.T, growth[:, None] * final, atol=1e-6)
    np.testing.assert_allclose(initial @ initial.T, np.eye(4), atol=1e-8)


def test_all_singular_vectors(x):
    growth, initial, final = singular_vectors(PROPAGATOR, x, 5, 40)
    np.testing.assert_allclose((final.T * growth) @ initial, PROPAGATOR.jacobian(x, 5), atol=1e-10)


def test_sensitivity_is_a_row_of_the_matrix(x):
    gradients = sensitivity(PROPAGATOR, x, 20, 19)
    np.testing.assert_allclose(gradients[0], PROPAGATOR.jacobian(x, 20)[19], atol=1e-11)
    y = PROPAGATOR.trajectory(x, 20)
    np.testing.assert_allclose(gradients[15], PROPAGATOR.jacobian(y[15], 5)[19], atol=1e-12)
    np.testing.assert_array_equal(gradients[20], np.eye(40)[19])


def test_bad_input(x):
    with pytest.raises(ValueError, match="site: expected an index below 40, found 40"):
        sensitivity(PROPAGATOR, x, 3, 40)
    with pytest.raises(ValueError, match="count: expected at most 40"):
        lyapunov_spectrum(PROPAGATOR, x, 10, count=41)
    with pytest.raises(ValueError, match="expected one state"):
        singular_vectors(PROPAGATOR, np.stack([x, x]), 3)


def test_nothing_to_compute_from_is_refused(x):
    with pytest.raises(ValueError, match=r"exponents: expected shape \(count,\), found \(0,\)"):
        kaplan_yorke_dimension([])
    with pytest.raises(ValueError, match="steps: expected at least 1, found 0"):
        lyapunov_spectrum(PROPAGATOR, x, 0)


def test_what_is_positive_takes_a_run_of_several_parts(x):
    spectrum = lyapunov_spectrum(PROPAGATOR, x, 10, count=2, spin_up=0)
    with pytest.raises(ValueError, match="spread: expected numbers, found NaN, as of one part alone; take more"):
        spectrum.positive  # noqa: B018


def test_directions_that_fall_together_are_noticed(x):
    with pytest.raises(ValueError, match="every: expected directions that 1000 steps leave apart"):
        lyapunov_spectrum(PROPAGATOR, x, 2000, every=1000, spin_up=0)
