"""Numbers that others computed with codes of their own: nobody here can tune them. Facts alone were taken."""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import comb

from l96kit import FourDVar, KuramotoSivashinsky, Lorenz63, Lorenz96, Propagator
from l96kit.baselines import ThreeDVar
from l96kit.observation_operators import at_sites, every
from l96kit.observations import Observations

# --- the Lorenz-95 of an operational system ---------------------------------------------------------------------------
# JCSDA/oops at 9548ed45, l95/test: settings in testinput/, numbers in testoutput/. A step is 5,400 of 432,000 seconds.

SITES, DT = 40, 5400 / 432000
OOPS = Propagator(Lorenz96(SITES, 8.0), DT)
SIGMA = float(np.float32(0.4))  # as it is read there
APART = np.minimum(np.arange(SITES), SITES - np.arange(SITES))[np.subtract.outer(range(SITES), range(SITES)) % SITES]
B = 0.36 * np.exp(-(APART**2) / 2)


def rest_but(site, value):
    return np.where(np.arange(SITES) == site, value, 8.0)


TRUTH = OOPS.trajectory(rest_but(9, 9.0), 18)  # truth.yaml, for a day and two steps
FORECAST = OOPS.trajectory(rest_but(19, 7.0), 48)  # forecast.yaml, for three days
DAY = 16


def in_six_digits(x):
    """Observations as a file of theirs has them."""
    return np.vectorize(lambda number: float(f"{number:.6g}"))(x)


@pytest.mark.parametrize(
    "x, smallest, largest, mean",
    [
        (TRUTH[DAY], 6.5589469828665576, 9.2781169031407753, 8.0114870375908573),  # truth.test
        (FORECAST[-1], -5.2310406392601312, 15.276437168335866, 6.4563081299850511),  # forecast.test
    ],
    ids=["a day", "three days"],
)
def test_forecasts_of_oops(x, smallest, largest, mean):
    np.testing.assert_allclose([x.min(), x.max(), x.mean()], [smallest, largest, mean], rtol=0, atol=1e-12)


def test_an_adjoint_of_oops():
    """The difference of two forecasts, with F = 7.6 and 8, taken back a day (adjointforecast.test)."""
    model = Propagator(Lorenz96(SITES, 7.6), DT)
    forecast = model.trajectory(TRUTH[0], DAY)
    y_ad = np.zeros_like(forecast)
    y_ad[-1] = forecast[-1] - TRUTH[DAY]
    x_ad, _ = model.trajectory_ad(TRUTH[0], y_ad)
    expected = -0.11087053572746657, -0.0042087923040343249, -0.059705929649925868
    np.testing.assert_allclose([x_ad.min(), x_ad.max(), x_ad.mean()], expected, rtol=0, atol=1e-13)


def test_3d_var_of_oops():
    """All sites at three times, held against the background at the middle one (3dvar.test)."""
    background = FORECAST[DAY]
    operator = at_sites(np.tile(np.arange(SITES), 3), SITES)
    values = in_six_digits(TRUTH[DAY - 1 : DAY + 2]).reshape(1, -1)
    observations = Observations(operator, values, SIGMA)
    method = FourDVar(OOPS, B)
    J, _ = method.cost(background, observations, background)
    assert pytest.approx(114.53536836501503, rel=1e-14) == J
    found = method.assimilate(observations, background, background)
    their_minimum = 15.470586974474170  # after 20 iterations of conjugate gradients
    assert found.cost == pytest.approx(their_minimum, rel=1e-9)
    exact = ThreeDVar(B).assimilate(OOPS, observations, FORECAST[DAY - 1]).analysis[0]
    J, _ = method.cost(exact, observations, background)
    assert their_minimum - 1e-8 < J < their_minimum
    extremes = [6.7530480630029741, 9.0671949301284496, 8.0091276780926002]
    np.testing.assert_allclose([exact.min(), exact.max(), exact.mean()], extremes, rtol=0, atol=2e-5)


def test_4d_var_of_oops():
    """Even sites after 2, 4, .., 16 steps and a digital filter, minimised by ten preconditioned conjugate gradients
    about each of two runs (4dvar_drpcg.test). With a cutoff of two steps the weights of their filter, that of Dolph and
    Chebyshev, are binomial."""
    background, alpha = FORECAST[2], 100.0
    observations = Observations(every(2, SITES), in_six_digits(TRUTH[4:19:2, ::2]), SIGMA)
    weights = comb(16, np.arange(17)) / 2.0**16 - (np.arange(17) == 8)  # the filtered state less that in the middle

    def cost(y, t):
        J, y_ad = alpha / 2 * ((weights @ y) ** 2).sum(), alpha * np.outer(weights, weights @ y)
        J_seen, seen_ad = observations.misfit(y[2::2])
        y_ad[2::2] += seen_ad
        return J + J_seen, y_ad

    x, found = background, []
    for _ in range(3):
        J, x_ad, _ = OOPS.gradient(x, cost, 16)
        departure = np.linalg.solve(B, x - background)
        found.append(J + (x - background) @ departure / 2)
        y = OOPS.trajectory(x, 16)

        def hessian(step, x=x, y=y):
            y_tl = OOPS.trajectory_tl(x, step, 16)
            y_ad = alpha * np.outer(weights, weights @ y_tl)
            y_ad[2::2] += observations.weighted_ad(y[2::2], observations.weighted_tl(y[2::2], y_tl[2::2]))
            return np.linalg.solve(B, step) + OOPS.trajectory_ad(x, y_ad)[0]

        normal = LinearOperator((SITES, SITES), matvec=hessian, dtype=float)
        x = x + cg(normal, -x_ad - departure, M=B, rtol=0, maxiter=10)[0]
    expected = 124.18395294324809, 3.2835358590317494, 3.0311036008391961
    np.testing.assert_allclose(found, expected, rtol=1e-11)


# --- Kuramoto-Sivashinsky ---------------------------------------------------------------------------------------------
# snagcliffs/PDE-FIND at 86911349, Datasets/kuramoto_sivishinky.mat: `uu` at 8 of 1,024 points, from the 24th on.

STORED = {
    0.4: (
        1.1134046077666082,
        1.1075377193748344,
        -0.3080778550921555,
        -1.2943351760627602,
        -0.821785152216879,
        -0.11377744414055968,
        0.0009216941823554925,
        0.31608322159859115,
    ),
    2.0: (
        1.0262963134858771,
        1.235305817564736,
        -0.39726400381281146,
        -1.3152267056428224,
        -0.7409181411577954,
        -0.10119228119066737,
        -0.0017727649387000721,
        0.28556441356613443,
    ),
    10.0: (
        0.6886946841765873,
        1.1728335860085917,
        -1.9372109118259975,
        -1.0210583525152193,
        -0.48913242396735335,
        -0.057506126671979074,
        -0.018544790154655155,
        0.19167746182643042,
    ),
}


def kassam_trefethen(points):
    """The start of the example of Kassam & Trefethen (2005), section 5, on 32 pi."""
    x = 32 * np.pi * np.arange(1, points + 1) / points
    return np.cos(x / 16) * (1 + np.sin(x / 16))


def test_kuramoto_sivashinsky_of_pde_find():
    waves = Propagator(KuramotoSivashinsky(1024, 32 * np.pi), 0.025)
    y = waves.trajectory(kassam_trefethen(1024), 400, 16)[:, 23::128]
    for time, bound in ((0.4, 2e-14), (2.0, 1e-13), (10.0, 1e-12)):
        np.testing.assert_allclose(y[round(time / 0.4)], STORED[time], rtol=0, atol=bound)


def test_the_settings_of_kassam_and_trefethen_converge_to_it():
    """128 points and steps of 1/4, and halves of these: an error of fourth order."""
    errors = []
    for steps in (8, 16, 32):
        found = Propagator(KuramotoSivashinsky(128, 32 * np.pi), 2 / steps).forecast(kassam_trefethen(128), steps)
        errors.append(np.abs(found[2::16] - STORED[2.0]).max())
    assert errors[0] < 1e-7
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 4, atol=0.15)


# --- Lorenz-63 --------------------------------------------------------------------------------------------------------
# NCAR/DART at 9431d937, models/lorenz_63/work/obs_seq.out: the truth every six steps, of which five times are here;
# "RK2" in its model_mod.nml is Heun's scheme.

DART = {
    0: (-5.583785635700480, 0.3565908520807170, 30.85259447416420),
    1: (-2.822816785826585, 0.5006721751901323, 26.17254004424105),
    10: (-10.21111728706370, -17.88644709012996, 16.16106200748148),
    100: (5.360724167091080, 2.612451008886038, 27.25824509174215),
    199: (2.741550897031853, 1.326585531936567, 23.17885756462376),
}


def test_lorenz63_of_dart():
    model = Propagator(Lorenz63(beta=2.6666666666667), 0.01, "heun")
    y = model.trajectory(np.array(DART[0]), 199 * 6, 6)
    for time, state in DART.items():
        bound = 1e-14 * np.exp(0.9 * 0.06 * time)  # errors grow by the leading Lyapunov exponent
        np.testing.assert_allclose(y[time], state, rtol=0, atol=20 * bound)
