"""Small linear algebra on one thread, and everything as it was afterwards."""

import threading

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  has a BLAS of its own
from threadpoolctl import threadpool_info, threadpool_limits

from l96kit import FourDVar, Lorenz96, Propagator, lyapunov_spectrum, singular_vectors
from l96kit._blas import SMALL, one_blas_thread
from l96kit.baselines import ThreeDVar
from l96kit.ensemble_variational import FourDEnVar
from l96kit.observation_operators import every_site
from l96kit.observations import Observations

SITES = 12
RUN, SLOW = Propagator(Lorenz96(SITES, 8.0), 0.05), Propagator(Lorenz96(SITES, 8.0), 0.01, "euler")
X = RUN.forecast(np.random.default_rng(0).standard_normal(SITES), 100)
OBSERVATIONS = Observations(every_site(SITES), RUN.trajectory(X, 3), 1.0)
MEMBERS = X + np.random.default_rng(1).standard_normal((6, SITES))


def threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        if threads() != {2}:
            pytest.skip("needs a BLAS that can be told how many threads to use")
        yield
        assert threads() == {2}


LOOPS = {
    "L-BFGS": lambda: FourDVar(RUN).assimilate(OBSERVATIONS, X),
    "Gauss-Newton": lambda: FourDVar(RUN, minimiser="Gauss-Newton").assimilate(OBSERVATIONS, X),
    "Lyapunov exponents": lambda: lyapunov_spectrum(RUN, X, 20, 3, spin_up=0),
    "singular vectors": lambda: singular_vectors(RUN, X, 5, 2),
    "3D-Var": lambda: ThreeDVar(np.eye(SITES)).assimilate(SLOW, OBSERVATIONS, X),
    "4DEnVar": lambda: FourDEnVar(6).assimilate(SLOW, OBSERVATIONS, MEMBERS, rng=np.random.default_rng(2)),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_of_small_linear_algebra_have_one_thread(name, monkeypatch):
    found, launch = set(), Propagator._launch

    def spy(*arguments):
        found.update(threads())
        return launch(*arguments)

    monkeypatch.setattr(Propagator, "_launch", spy)
    LOOPS[name]()
    assert found == {1}


def test_large_matrices_keep_their_threads():
    with one_blas_thread(SMALL + 1):
        assert threads() == {2}
    with one_blas_thread(SMALL):
        assert threads() == {1}


def test_whoever_comes_first_takes_it_back():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with one_blas_thread(), one_blas_thread():
        thread.start()
        entered.wait()
        assert threads() == {1}
    assert threads() == {2}
    leave.set()
    thread.join()
    assert threads() == {2}
    with pytest.raises(KeyboardInterrupt), one_blas_thread():
        raise KeyboardInterrupt
