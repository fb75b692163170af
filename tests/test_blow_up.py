"""Runs that blow up: the step and the member are named, and what was finite is kept."""

import numpy as np
import pytest

from l96kit import BlowUpError, Lorenz96, Propagator
from l96kit.reference import lorenz96 as reference
from l96kit.reference import runge_kutta

K, DT = 9, 0.05
MODEL = Lorenz96(K, 8.0)
PROPAGATOR = Propagator(MODEL, DT)
RNG = np.random.default_rng(5)
X = 8 + RNG.standard_normal((11, K))
STATES = RNG.standard_normal((3, 11, K))


def square(y, t):
    return float((y**2).sum()) / 2, y


def first_bad_step(x, steps):
    """(step, member, trajectory) of the reference's first value that is not finite."""
    with np.errstate(all="ignore"):
        states = runge_kutta.trajectory(lambda y: reference.tendency(y, 8.0), x, DT, steps)
    bad = ~np.isfinite(states).all(axis=-1)
    step = int(np.argmax(bad.any(axis=1)))
    assert step > 0
    return step, int(np.argmax(bad[step])), states


@pytest.fixture
def wild():
    """An ensemble of which member 6 blows up first, and member 2 a few steps later."""
    x = np.full((11, K), 8.0) + 1e-3 * STATES[0]
    x[6] = 4 * X[2]
    x[2] = 3 * X[2]
    step, member, states = first_bad_step(x, 20)
    assert member == 6 and 1 < step < first_bad_step(x[2:3], 20)[0] < 20
    assert np.isfinite(states[-1]).all(axis=-1).sum() == 9
    return x, step, states


@pytest.mark.parametrize("every", [1, 2, 5, 20])
def test_a_blow_up_names_step_and_member_and_keeps_the_trajectory(wild, every):
    x, step, states = wild
    with pytest.raises(BlowUpError, match=f"found none for member 6 at step {step} .*; take a smaller dt") as caught:
        PROPAGATOR.trajectory(x, 20, every)
    assert (caught.value.step, caught.value.member) == (step, 6)
    kept = states[:step:every]
    assert caught.value.trajectory.shape == kept.shape
    calm = np.abs(kept) < 1e3  # a member about to blow up magnifies rounding
    np.testing.assert_allclose(caught.value.trajectory[calm], kept[calm], rtol=1e-6)


def test_the_step_is_found_between_stored_times():
    steps = set()
    for factor in (2.9, 3.0, 3.2, 3.5, 4.0, 5.0, 10.0, 1e3, 1e30):
        x = factor * X[2]
        step, _, _ = first_bad_step(x[None], 64)
        with pytest.raises(BlowUpError) as caught:
            PROPAGATOR.forecast(x, 64)
        assert caught.value.step == step
        steps.add(step)
    assert steps == {1, 2, 3, 4, 5, 6, 7, 8, 10}


def test_a_blow_up_is_found_wherever_the_run_is(wild):
    x, step, _ = wild
    at = f"member 6 at step {step} "
    for call in (
        lambda: PROPAGATOR.forecast(x, 20),
        lambda: PROPAGATOR.trajectory_tl(x, x, 20),
        lambda: PROPAGATOR.trajectory_tl(x, x[0], 20, 10),
        lambda: PROPAGATOR.trajectory_ad(x, np.zeros((21, 11, K))),
        lambda: PROPAGATOR.gradient(x, square, 20),
        lambda: PROPAGATOR.gradient(x, square, 20, checkpoints=1),
        lambda: PROPAGATOR.gradient(x, square, 20, every=5, checkpoints=2),
    ):
        with pytest.raises(BlowUpError, match=at):
            call()


def test_a_blow_up_in_a_later_piece_of_a_long_run(wild, monkeypatch):
    x, step, _ = wild
    for piece in (1, 3 * x.size, 7 * x.size):  # site-steps: one step, three, seven
        monkeypatch.setattr("l96kit.propagators.PIECE", piece)
        for every in (1, 4, 20):
            with pytest.raises(BlowUpError) as caught:
                PROPAGATOR.trajectory(x, 20, every)
            assert (caught.value.step, caught.value.member) == (step, 6)
            assert len(caught.value.trajectory) == (step - 1) // every + 1


@pytest.mark.parametrize("checkpoints", [None, 1])
def test_a_blow_up_in_the_last_part_of_a_window_has_the_step_of_the_window(wild, monkeypatch, checkpoints):
    """That part is the first of which a gradient asks, and nothing went through it before."""
    x, step, _ = wild
    monkeypatch.setattr("l96kit._adjoint.PIECE", 2 * x.size)  # site-steps: two steps
    with pytest.raises(BlowUpError) as caught:
        PROPAGATOR.gradient(x, square, step, checkpoints=checkpoints)
    assert (caught.value.step, caught.value.member) == (step, 6)


def test_members_are_named_by_their_axes(wild):
    x, step, _ = wild
    with pytest.raises(BlowUpError, match=rf"member \(0, 6\) at step {step} ") as caught:
        PROPAGATOR.trajectory(x[None], 20)
    assert caught.value.member == (0, 6)
    assert caught.value.trajectory.shape == (step, 1, 11, K)
    with pytest.raises(BlowUpError, match=f"member 0 at step {step} ") as caught:
        PROPAGATOR.trajectory(x[6], 20)
    assert caught.value.trajectory.shape == (step, K)


def test_a_tangent_beyond_the_largest_number():
    x = X.astype("float32")
    x_tl = np.where(np.arange(11)[:, None] == 4, np.float32(3e38), np.float32(1)) * np.ones_like(x)
    message = "x_tl: expected a tangent within the range of float32, found it beyond after 200 steps for member 4; take"
    with pytest.raises(OverflowError, match=message):
        PROPAGATOR.trajectory_tl(x, x_tl, 200, 100)
    with pytest.raises(OverflowError, match="gradient: .* found none for member 4; .* range of float32 on its 200"):
        PROPAGATOR.trajectory_ad(x, np.stack([x_tl, x_tl, x_tl]), 100)
