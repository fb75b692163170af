"""Tapers: their values at known places, their properties, and what a radius means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l96kit.localization import SMALLEST, TAPERS, Localization, gaspari_cohn, ring_distance


@given(st.floats(0.1, 100), st.integers(4, 200))
def test_gaspari_cohn_is_a_correlation(half_width, sites):
    """It falls from one to zero, and its matrix on a ring that it does not span is positive semidefinite."""
    d = np.linspace(0, 3 * half_width, 200)
    values = gaspari_cohn(d, half_width)
    assert values[0] == 1 and (np.diff(values) <= 1e-12).all() and (values[d >= 2 * half_width] == 0).all()
    if 4 * half_width <= sites:
        row = gaspari_cohn(ring_distance(np.arange(sites), 0, sites), half_width)
        assert np.fft.fft(row).real.min() > -1e-9


def test_gaspari_cohn_is_the_convolution_of_a_triangle_with_itself():
    """In three dimensions, which is how Gaspari & Cohn came to it; at the distances c / 2, c and 3 c / 2."""
    grid = np.linspace(-1.5, 2.5, 201)
    x, y, z = np.meshgrid(grid, grid[::2], grid[::2], indexing="ij", sparse=True)

    def cone(centre):
        return np.maximum(1 - np.sqrt((x - centre) ** 2 + y**2 + z**2), 0)

    whole = (cone(0) ** 2).sum()
    for distance in (0.5, 1.0, 1.5):
        assert gaspari_cohn(distance, 1.0) == pytest.approx((cone(0) * cone(distance)).sum() / whole, abs=2e-3)


def test_the_radius_is_that_of_the_gaussian_which_a_taper_resembles():
    d = np.array([0.0, 0.05, 0.5])
    smooth, gauss = (Localization(1.0, taper).coefficients(d) for taper in ("gaspari-cohn", "gauss"))
    np.testing.assert_allclose(1 - smooth[1], 1 - gauss[1], rtol=0.02)
    np.testing.assert_allclose(smooth, gauss, atol=0.02)
    assert Localization(1.0).coefficients(1.0) == pytest.approx(0.634, abs=1e-3)
    assert Localization(1.0).coefficients(3.64) == 0 < Localization(1.0).coefficients(2.9)


def test_a_step_has_its_edge_inside():
    np.testing.assert_array_equal(Localization(3.0, "step").coefficients([0, 2, 3, 3.001, 4]), [1, 1, 1, 0, 0])


@pytest.mark.parametrize("taper", TAPERS)
@given(st.floats(0.01, 1000), st.integers(4, 60))
def test_coefficients_lie_between_zero_and_one(taper, radius, sites):
    found = Localization(radius, taper).coefficients(ring_distance(np.arange(sites)[:, None], np.arange(sites), sites))
    assert (np.diagonal(found) == 1).all() and found.max() <= 1
    assert ((found == 0) | (found >= SMALLEST)).all()
    np.testing.assert_array_equal(found, found.T)


def test_an_infinite_radius_leaves_everything():
    np.testing.assert_array_equal(Localization(np.inf).coefficients([0.0, 1e9]), 1.0)


def test_distances_go_the_shorter_way_round():
    np.testing.assert_array_equal(ring_distance([0, 39, 20, 0], [39, 0, 0, 21], 40), [1, 1, 20, 19])
    assert ring_distance(0.5, 39.75, 40) == 0.75


@pytest.mark.parametrize("taper", ["gaspari-cohn", "gauss", "step"])
def test_the_sign_of_a_distance_does_not_matter(taper):
    distance = np.linspace(0, 20, 41)
    found = Localization(3.0, taper).coefficients(-distance)
    np.testing.assert_array_equal(found, Localization(3.0, taper).coefficients(distance))
    np.testing.assert_array_equal(gaspari_cohn(-distance, 4.0), gaspari_cohn(distance, 4.0))


@pytest.mark.parametrize("radius", [0, -1.0, np.nan])
def test_a_radius_must_be_positive(radius):
    with pytest.raises(ValueError, match="radius: expected a positive finite number of sites, or infinity for none"):
        Localization(radius)


def test_an_unknown_taper_is_named():
    with pytest.raises(ValueError, match="taper: expected one of 'gaspari-cohn', 'gauss', 'step', found 'boxcar'"):
        Localization(2.0, "boxcar")
