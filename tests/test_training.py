"""Training: the loss and its gradient, regions of a ring, the schedule, and what survives a kill."""

import json
import resource
import subprocess
import sys
import time
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l96kit import Emulator, Lorenz96, Network, Propagator, Training, networks, store, training
from l96kit._training_run import Run
from l96kit.networks import convolution, relu, sq_net, sq_net_of_lorenz96, square, tanh
from l96kit.training import Trained

NETWORK = Network((convolution(3, 4), tanh(), convolution(2, 2), relu(), convolution(1)), "small")
RNG = np.random.default_rng(0)


def trajectories(times=40, members=(2,), sites=12, dtype=np.float64):
    x = Propagator(Lorenz96(sites, 8.0), 0.05).forecast(RNG.standard_normal((*members, sites)), 200)
    return Propagator(Lorenz96(sites, 8.0), 0.05).trajectory(x, times).astype(dtype)


def small_weights(network=NETWORK, dtype=np.float64):
    return (0.3 * RNG.standard_normal(network.size)).astype(dtype)


@given(
    rollout=st.integers(1, 3),
    every=st.integers(1, 2),
    times=st.integers(4, 23),
)
def test_loss_and_gradient_are_those_of_a_propagator(rollout, every, times):
    y, weights = trajectories(times), small_weights()
    training = Training(NETWORK, 0.05 / every, every, rollout, scheme="heun")
    J, gradient = training.gradient(weights, y)
    count = times + 1 - rollout
    truth = np.stack([y[lead : lead + count] for lead in range(rollout + 1)])

    def cost(x, t):
        departure = x - truth
        departure[0] = 0
        return (departure**2).sum() / departure[1:].size, 2 * departure / departure[1:].size

    run = Propagator(Emulator(NETWORK, weights, 12), 0.05 / every, "heun")
    expected, _, gradients = run.gradient(y[:count], cost, rollout * every, every)
    np.testing.assert_allclose(J, expected, rtol=1e-13)
    np.testing.assert_allclose(training.loss(weights, y), expected, rtol=1e-13)
    np.testing.assert_allclose(gradient, gradients["weights"], rtol=0, atol=1e-13 * np.abs(gradients["weights"]).max())


@given(region=st.sampled_from([1, 3, 4, 8, 24]), rollout=st.integers(1, 2))
def test_all_regions_together_are_the_whole_ring(region, rollout):
    y, weights = trajectories(5, sites=24), small_weights()
    whole = Training(NETWORK, 0.05, rollout=rollout, scheme="heun")
    parts = replace(whole, region=region)
    (J, gradient), (J_parts, gradient_parts) = whole.gradient(weights, y), parts.gradient(weights, y)
    np.testing.assert_allclose(J_parts, J, rtol=1e-13)
    np.testing.assert_allclose(gradient_parts, gradient, atol=1e-13 * np.abs(gradient).max())
    np.testing.assert_allclose(parts.loss(weights, y), J, rtol=1e-13)


def test_regions_have_the_halo_of_the_base_too():
    """A network that looks at its own site alone, added to a model that looks further."""
    y, network = trajectories(4, sites=24), Network([convolution(2), square(), convolution(1)])
    weights = 0.1 * np.random.default_rng(1).standard_normal(network.size)
    whole = Training(network, 0.05, base=Lorenz96(40, 8.0))
    assert whole.model.sight == (2, 2) and whole.halo == (8, 8)
    (J, gradient), (J_parts, gradient_parts) = (
        training.gradient(weights, y) for training in (whole, replace(whole, region=6))
    )
    np.testing.assert_allclose(J_parts, J, rtol=1e-13)
    np.testing.assert_allclose(gradient_parts, gradient, atol=1e-13 * np.abs(gradient).max())


def test_what_the_bar_of_a_training_shows():
    run = Run.begin(Training(NETWORK, 0.05, learning_rate=0.1), np.dtype(float), (0, 1, 2), None)
    assert run.summary() == {"rate": "1e-01", "seeds": 3}
    run.updates, run.best_loss, run.rates = np.ones(1), np.array([3.0, 0.25, 1.0]), np.array([1e-3, 1e-2, 1e-4])
    run.active[:] = [True, False, True]
    assert run.summary() == {"best": "0.25", "rate": "1e-02", "seeds": 2}


def test_pieces_of_a_ring_give_what_their_inner_sites_give_in_the_ring():
    y, weights = trajectories(5, sites=60), small_weights()
    training = Training(NETWORK, 0.05, ring=False)
    left, right = training.halo
    assert (left, right) == (12, 4)  # four stages, of which each sees three sites to the left and one to the right
    piece = y[..., : left + 20 + right]
    run = Propagator(Emulator(NETWORK, weights, 60), 0.05)
    expected = np.mean((run.step(y[:-1]) - y[1:])[..., left : left + 20] ** 2)
    np.testing.assert_allclose(training.gradient(weights, piece)[0], expected, rtol=1e-13)


def test_the_loss_of_the_right_weights_is_zero():
    y = trajectories()
    J, gradient = Training(sq_net(), 0.05, rollout=3).gradient(sq_net_of_lorenz96(), y)
    assert J < 1e-24 and np.abs(gradient).max() < 1e-10


def test_a_base_is_part_of_the_model():
    y, training = trajectories(), Training(NETWORK, 0.05, base=Lorenz96(12, 8.0))
    assert training.gradient(np.zeros(NETWORK.size), y)[0] < 1e-28


def adam(weights, gradients, rate):
    """Kingma & Ba (2015), algorithm 1, in NumPy."""
    mean = square = 0.0
    for t, gradient in enumerate(gradients, 1):
        g = gradient(weights)
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        weights = weights - rate * mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
    return weights


def test_updates_are_those_of_adam():
    y, weights = trajectories(8, ()), small_weights()
    training = Training(NETWORK, 0.05, batch=8, epochs=3, learning_rate=0.01)  # each epoch is one minibatch of all
    expected = adam(weights, [lambda w: training.gradient(w, y)[1]] * 3, 0.01)
    found = training.fit(y, y, weights=weights)
    assert found.validation_losses[0] > found.validation_losses[-1]
    np.testing.assert_allclose(found.best, expected, rtol=1e-9)


def test_minibatches_are_a_permutation_in_each_epoch():
    """A whole training in NumPy, told by the losses which samples each minibatch held."""
    y, weights = trajectories(21, ()), small_weights()  # 21 samples, two minibatches of 8 in an epoch
    training = Training(NETWORK, 0.05, batch=8, epochs=3, learning_rate=0.01, validate_every=1)
    found = training.fit(y, y, seeds=[7], weights=weights)
    orders = [np.random.default_rng((7, epoch)).permutation(21)[:16].reshape(2, 8) for epoch in range(3)]
    pairs = [np.stack([y[:-1][batch], y[1:][batch]]) for order in orders for batch in order]
    whole = replace(training, batch=1)
    losses = []

    def gradient_of(pair):
        def gradient(w):
            J, g = whole.gradient(w, pair)
            losses.append(J)
            return g

        return gradient

    adam(weights, map(gradient_of, pairs), 0.01)
    np.testing.assert_allclose(found.training_losses[:, 0], losses, rtol=1e-9)


def test_more_samples_than_go_at_once():
    y, weights = trajectories(600, (4,)), small_weights()
    training = Training(NETWORK, 0.05, scheme="euler")
    J, gradient = training.gradient(weights, y)
    parts = [training.gradient(weights, y[:, member]) for member in range(4)]
    np.testing.assert_allclose(J, np.mean([part[0] for part in parts]), rtol=1e-12)
    np.testing.assert_allclose(gradient, np.mean([part[1] for part in parts], axis=0), rtol=0, atol=1e-12 * J)
    np.testing.assert_allclose(training.loss(weights, y), J, rtol=1e-12)


def judged(losses, **settings):
    """Learning rates and activity (validation, seed) while validations find the given losses (validation, seed)."""
    training = Training(NETWORK, 0.05, learning_rate=1.0, rate_factor=0.5, **settings)
    run = Run.begin(training, np.float64, tuple(range(len(losses[0]))), None)
    rates, active = [], []
    for done, found in enumerate(losses, 1):
        run.done = done
        run.judge(np.array(found), training, 1000)
        rates.append(run.rates.tolist())
        active.append(run.active.tolist())
    used = [[1.0] * len(losses[0]), *rates[:-1]]  # until each validation, by those that were still trained
    trained = [[True] * len(losses[0]), *active[:-1]]
    np.testing.assert_array_equal(run.learning_rates, np.where(trained, used, np.nan))
    return rates, active


def test_the_schedule_by_hand():
    losses = [[5.0], [6.0], [6.0], [6.0], [6.0], [4.0], [4.0], [4.0], [4.0], [4.0], [4.0], [4.0]]
    rates, active = judged(losses, rate_patience=2, patience=6)
    assert [rate for (rate,) in rates] == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625, 0.03125]
    assert [on for (on,) in active] == [True] * 11 + [False]
    rates, _ = judged([[1.0]] * 9, rate_patience=2, patience=20, smallest_rate=0.5)
    assert [rate for (rate,) in rates] == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25]
    rates, active = judged([[1.0, 9.0], [1.0, 8.0], [1.0, 7.0], [1.0, 6.0]], rate_patience=2, patience=3)
    assert rates == [[1, 1], [1, 1], [0.5, 1], [0.5, 1]]
    assert active == [[True, True], [True, True], [True, True], [False, True]]


def test_seeds_with_rates_and_ends_of_their_own_are_those_trained_alone():
    y = trajectories(30)
    training = Training(NETWORK, 0.05, batch=8, learning_rate=0.1, rate_patience=1, patience=4, epochs=200)
    seeds = (3, 11, 4, 8)
    together = training.fit(y, seeds=seeds)
    ends = np.isfinite(together.validation_losses).sum(axis=0)
    rates = together.learning_rates[: ends.min()]
    assert len(set(ends)) > 1 and (rates != rates[:, :1]).any()
    for index, seed in enumerate(seeds):
        alone = training.fit(y, seeds=[seed])
        np.testing.assert_array_equal(alone.best, together.weights[index])
        for name in ("training_losses", "validation_losses", "learning_rates"):
            found = getattr(together, name)[: len(alone.updates), index]
            np.testing.assert_array_equal(getattr(alone, name)[:, 0], found)
    assert together.loss.min() < together.loss.max()
    np.testing.assert_array_equal(together.best, together.weights[np.argmin(together.loss)])


def test_a_region_that_does_not_divide_the_ring_overlaps_the_one_before():
    y, weights = trajectories(4, sites=29), small_weights()
    training = Training(NETWORK, 0.025, every=2, region=7, scheme="heun")
    squares = (Propagator(Emulator(NETWORK, weights, 29), 0.025, "heun").forecast(y[:-1], 2) - y[1:]) ** 2
    starts = (0, 7, 14, 21, 22)
    expected = np.mean([squares[..., start : start + 7].mean() for start in starts])
    np.testing.assert_allclose(training.gradient(weights, y)[0], expected, rtol=1e-12)
    np.testing.assert_allclose(training.loss(weights, y), expected, rtol=1e-12)


def test_seeds_are_independent_and_threads_change_nothing():
    y = trajectories(60, dtype="float32")
    training = Training(NETWORK, 0.05, batch=16, epochs=4)
    together = training.fit(y, seeds=3)
    alone = replace(training, threads=1).fit(y, seeds=[2])
    np.testing.assert_array_equal(together.weights[2], alone.best)
    assert together.weights.dtype == np.float32
    assert len({row.tobytes() for row in together.weights}) == 3


def test_the_schedule_lowers_the_rate_keeps_the_best_and_stops():
    y = trajectories(40)
    training = Training(NETWORK, 0.05, batch=8, learning_rate=0.3, rate_patience=2, patience=5, epochs=400)
    found = training.fit(y, seeds=2)
    for seed in range(2):
        losses, rates = found.validation_losses[:, seed], found.learning_rates[:, seed]
        last = np.flatnonzero(np.isfinite(losses))[-1]
        assert found.loss[seed] == np.nanmin(losses) == training.loss(found.weights[seed], _last_tenth(y))
        assert last - np.nanargmin(losses) == 5 or last == 399
        assert rates[0] == 0.3 and rates[last] < 0.3


def _last_tenth(y):
    return y[len(y) - 1 - round(0.1 * (len(y) - 1)) :]


def test_trajectories_of_other_lengths_and_shapes_are_one_set():
    y = trajectories(30, (3,))
    training = Training(NETWORK, 0.05, rollout=2)
    weights = small_weights()
    J = training.gradient(weights, y)[0]
    np.testing.assert_allclose(training.gradient(weights, [y[:, 0], y[:, 1:]])[0], J, rtol=1e-13)
    np.testing.assert_allclose(training.gradient(weights, np.asfortranarray(y))[0], J, rtol=1e-13)


# --- files and kills ------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from l96kit import Training, networks, store, training
training.BETWEEN_CHECKPOINTS = 0.02
y = store.load(sys.argv[1] + "/y.h5")[0]["y"][1]
settings = Training(networks.sq_net(), 0.05, batch=8, epochs=600, patience=600, rate_patience=40)
found = settings.fit(y, seeds=2, checkpoint=sys.argv[1] + "/run.h5")
store.save(sys.argv[1] + "/found.h5", {"weights": (("seed", "weight"), found.weights),
    "losses": (("validation", "seed"), found.validation_losses), "training": (("a", "b"), found.training_losses)})
"""


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path):
    y = trajectories(300, dtype="float32")
    results = {}
    for kills in (0, 4):
        folder = tmp_path / str(kills)
        folder.mkdir()
        store.save(folder / "y.h5", {"y": (("time", "member", "site"), y)})
        command = [sys.executable, "-c", PROGRAM, str(folder)]
        waits = np.random.default_rng(0).uniform(0.0, 0.4, kills)
        for wait in waits:
            process = subprocess.Popen(command)
            deadline = time.monotonic() + 60
            before = _done(folder)
            while _done(folder) == before and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(wait)
            process.kill()
            process.wait()
        subprocess.run(command, check=True)
        results[kills] = store.load(folder / "found.h5")[0]
    for name, (_, expected) in results[0].items():
        np.testing.assert_array_equal(results[4][name][1], expected)


def _done(folder):
    path = folder / "run.h5"
    return store.load(path)[1]["done"] if path.exists() else -1


def _with_one_other_number(training):
    """Trainings with another number in one of the fields, by its name; more epochs are the same training."""
    numbers = {f.name: getattr(training, f.name) for f in fields(training) if f.name not in ("epochs", "threads")}
    numbers = {name: number for name, number in numbers.items() if type(number) in (int, float)}  # no flag
    assert {"rate_factor", "patience", "learning_rate", "batch"} <= set(numbers)
    other = {name: number + 1 if isinstance(number, int) else number / 2 for name, number in numbers.items()}
    return {name: replace(training, **{name: number}) for name, number in other.items()}


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    y, path = trajectories(40), tmp_path / "run.h5"
    training = Training(NETWORK, 0.05, batch=8, epochs=1)
    training.fit(y, checkpoint=path)
    for other, data, seeds, named in (
        (training, y, 2, "seeds, data or first weights"),
        (training, y + 1, 1, "data or first weights"),
        (replace(training, learning_rate=0.1, every=2), y, 1, "every, learning_rate"),
        (replace(training, network=sq_net()), y, 1, "network, data or first weights"),
        (replace(training, base=Lorenz96(12, 8.0)), y, 1, "base"),
        (replace(training, dt=np.float64(0.1)), y, 1, "dt"),
        *((changed, y, 1, name) for name, changed in _with_one_other_number(training).items()),
    ):
        with pytest.raises(
            ValueError, match=f"checkpoint: expected one of this training, .* other {named}.*; name another"
        ):
            other.fit(data, seeds=seeds, checkpoint=path)
    mine = tmp_path / "mine.h5"
    training.fit(y[:30], y[30:], checkpoint=mine)
    with pytest.raises(ValueError, match="checkpoint: expected one of this training, .* other data or first weights"):
        training.fit(y[:30], y[30:] + 1e-3, checkpoint=mine)
    with pytest.raises(TypeError, match="checkpoint: expected a path, found 3"):
        training.fit(y, checkpoint=3)
    with pytest.raises(OSError, match="checkpoint: expected a folder that can be written to, found .*none"):
        training.fit(y, checkpoint=tmp_path / "none" / "run.h5")
    assert not (tmp_path / "none").exists()


def edited(name, variables):
    """A checkpoint's arrays with one of another kind, another shape, or with another number at its end."""
    dimensions, data = variables[name]
    yield dimensions, data.astype("f4" if data.dtype == float else float)
    yield dimensions, np.concatenate([data, data], axis=-1)
    for number in (np.nan, -1.0) if data.dtype == float else (0, 7):
        other = data.copy()
        other[(-1,) * data.ndim] = number
        if not np.array_equal(other, data, equal_nan=data.dtype == float):
            yield dimensions, other


def test_a_checkpoint_that_was_edited_is_refused(tmp_path):
    y, path = trajectories(40), tmp_path / "run.h5"
    training = Training(NETWORK, 0.05, batch=8, epochs=2)
    training.fit(y, checkpoint=path)
    whole, attributes = store.load(path)
    about, done = json.loads(attributes["training"]), attributes["done"]
    refused = "checkpoint: expected one as a training"
    edits = [({**whole, name: other}, attributes) for name in whole for other in edited(name, whole)]
    edits += [({name: whole[name] for name in whole if name != gone}, attributes) for gone in whole]
    edits += [({"x": ("site", np.zeros(3))}, others) for others in ({}, attributes)]
    edits += [(whole, {**attributes, "done": to}) for to in (done + 1, done + 0.5, float(done), str(done), True, -1)]
    edits += [(whole, {**attributes, "training": other}) for other in ('"x"', "null", "{}", "[" * 100_000, 3)]
    for variables, others in edits:
        apart = {name: (tuple(f"{name}{i}" for i in range(data.ndim)), data) for name, (_, data) in variables.items()}
        store.save(path, apart, others)
        with pytest.raises(ValueError, match=refused):
            Run.load(path, about)
    with pytest.raises(ValueError, match=f"{refused} wrote it, found another or a changed file at .*; name another"):
        training.fit(y, checkpoint=path)
    store.save(path, whole, attributes)
    assert Run.load(path, about).done == done


def test_a_checkpoint_that_cannot_be_written_stops_no_training(tmp_path, monkeypatch):
    y, path = trajectories(40), tmp_path / "run.h5"
    settings = Training(NETWORK, 0.05, batch=8, epochs=20)
    expected = settings.fit(y)
    monkeypatch.setattr(training, "BETWEEN_CHECKPOINTS", 0.0)
    settings.fit(y, checkpoint=path)
    whole, room = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    path.unlink()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, room[1]))
    try:
        with pytest.warns(RuntimeWarning, match="checkpoint: .* no file of this size; .*; training goes on without it"):
            found = settings.fit(y, checkpoint=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("base", [None, Lorenz96(12, 7.5)])
def test_what_was_trained_is_saved_with_what_it_was_trained_with(tmp_path, base):
    path, settings = tmp_path / "a.h5", Training(NETWORK, 0.025, 2, 3, "heun", base)
    rows, history = RNG.standard_normal((3, NETWORK.size)), np.ones((1, 3))
    found = Trained(settings, (4, 5, 6), rows, np.array([2.0, 1.0, 3.0]), np.ones(3, bool), np.ones(1), *[history] * 3)
    found.save(path, {"note": "two"})
    network, weights, attributes = networks.load(path, base)
    assert network == found.network == NETWORK and attributes.pop("l96kit_version")
    assert attributes == {"note": "two", "dt": 0.025, "every": 2, "rollout": 3, "scheme": "heun"}
    np.testing.assert_array_equal(weights, rows[1])
    with pytest.raises(ValueError, match="attributes: expected other names than dt, .* found 'dt'; leave it out"):
        found.save(path, {"dt": 0.1})
    with pytest.raises(ValueError, match="base: expected .*, as .*a.h5 tells of its network, found"):
        networks.load(path, Lorenz96(12, 7.0) if base is None else None)


def test_a_training_that_used_up_its_epochs_goes_on(tmp_path):
    y, path = trajectories(40), tmp_path / "run.h5"
    training = Training(NETWORK, 0.05, batch=8, epochs=2, patience=4)
    short, whole = training.fit(y, seeds=2, checkpoint=path), replace(training, epochs=60).fit(y, seeds=2)
    assert not short.converged.any() and len(short.updates) == 2
    again = training.fit(y, seeds=2, checkpoint=path)  # nothing is left to do
    np.testing.assert_array_equal(again.weights, short.weights)
    np.testing.assert_array_equal(again.updates, short.updates)
    found = replace(training, epochs=60, threads=1).fit(y, seeds=2, checkpoint=path)  # threads change no result
    with pytest.raises(ValueError, match="epochs: expected at least the .* has been through, found 1"):
        replace(training, epochs=1).fit(y, seeds=2, checkpoint=path)
    for name in ("weights", "loss", "converged", "updates", "training_losses", "validation_losses", "learning_rates"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    stopped = np.isfinite(whole.validation_losses).sum(axis=0)
    np.testing.assert_array_equal(whole.converged, (np.nanargmin(whole.validation_losses, axis=0) + 5 == stopped))


def test_a_rollout_that_blows_up_has_no_gradient():
    weights = np.full(NETWORK.size, 1e200)
    J, gradient = SMALL.gradient(weights, Y)
    assert J == SMALL.loss(weights, Y) == np.inf and not gradient.any()


# --- what does not fit ----------------------------------------------------------------------------------------------

Y = trajectories(40)
SMALL = Training(NETWORK, 0.05)
BAD = {
    "few": (lambda: SMALL.fit(Y[:10]), ValueError, "trajectories: expected at least 32 samples, .* found 16"),
    "NaN": (lambda: SMALL.fit(np.where(Y > 9, np.nan, Y)), ValueError, "trajectories: expected finite numbers"),
    "constant": (lambda: SMALL.fit(np.full_like(Y, 2.0)), ValueError, "trajectories: expected states that change"),
    "one time": (lambda: SMALL.fit(Y[:1], Y), ValueError, "expected more than rollout = 1 times, found 1"),
    "one state": (lambda: SMALL.fit(Y[0, 0]), ValueError, r"expected shape \(time, ..., site\)"),
    "empty": (lambda: SMALL.fit(Y[:, :0]), ValueError, r"trajectories: expected times, members and sites, found shape"),
    "no base": (lambda: Training(NETWORK, 0.05, base=8.0), TypeError, "base: expected a model without a network"),
    "base of its own": (
        lambda: Training(NETWORK, 0.05, base=Emulator(NETWORK, 0.0)),
        TypeError,
        "base: expected a model without a network",
    ),
    "weights out of range": (
        lambda: SMALL.gradient(np.full(NETWORK.size, 1e60), Y.astype("f4")),
        ValueError,
        "weights: expected numbers within the range of float32",
    ),
    "integers": (lambda: SMALL.fit(Y.astype(int)), TypeError, "trajectories: expected float32 or float64"),
    "mixed": (lambda: SMALL.fit([Y, Y.astype("f4")]), TypeError, "expected one precision"),
    "sites": (lambda: SMALL.fit([Y, Y[..., :8]]), ValueError, "expected as many sites in all, found 12 and 8"),
    "none": (lambda: SMALL.fit([]), ValueError, "found an empty list"),
    "validation": (lambda: SMALL.fit(Y, 1.5), ValueError, "a fraction between 0 and 1, found 1.5"),
    "whole number": (lambda: SMALL.fit(Y, 0), ValueError, "trajectories or a fraction between 0 and 1, found 0;"),
    "no validation": (
        lambda: SMALL.fit(Y, None),
        ValueError,
        "trajectories or a fraction between 0 and 1, found None;",
    ),
    "short validation": (
        lambda: SMALL.fit(Y, np.float32(0.001)),
        ValueError,
        "validation: expected more than rollout = 1 times on either side of the cut, found 41 and 1",
    ),
    "other precision": (
        lambda: SMALL.fit(Y, Y.astype("f4")),
        TypeError,
        "validation: expected float64 as the trajectories have, found float32",
    ),
    "seeds": (lambda: SMALL.fit(Y, seeds=[1, 1]), ValueError, "seeds: expected numbers that differ"),
    "rows": (lambda: SMALL.fit(Y, seeds=2, weights=np.zeros((3, NETWORK.size))), ValueError, "one row for each of 2"),
    "weights": (lambda: SMALL.loss(np.zeros(3), Y), ValueError, "weights: expected shape"),
    "ring": (
        lambda: Training(Network([convolution(1, 31)]), 0.05).loss(np.zeros(32), Y),
        ValueError,
        "trajectories: expected at least 16 sites for this network, found 12",
    ),
    "region": (lambda: replace(SMALL, region=13).loss(0.0, Y), ValueError, "region: expected at most the 12 sites"),
    "pieces": (lambda: replace(SMALL, ring=False).loss(0.0, Y), ValueError, "expected pieces of more than 16 sites"),
    "both": (lambda: replace(SMALL, region=4, ring=False), ValueError, "region: expected None with ring=False"),
    "network": (lambda: Training("deep", 0.05), TypeError, "network: expected l96kit.Network"),
    "lists in a list": (lambda: SMALL.loss(0.0, Y.tolist()), TypeError, "found lists within a list"),
    "neither": (lambda: Training(NETWORK, 0.05, ring="no"), TypeError, "ring: expected True or False, found 'no'"),
    "weights beyond": (
        lambda: SMALL.fit(Y.astype(np.float32), weights=np.full(NETWORK.size, 1e60)),
        ValueError,
        "weights: expected numbers within the range of float32",
    ),
    "a long name": (
        lambda: SMALL.fit(Y, checkpoint=250 * "x"),
        ValueError,
        "checkpoint: expected a file name of",
    ),
    "dt": (lambda: Training(NETWORK, 0.0), ValueError, "dt: expected a positive finite number"),
    "scheme": (lambda: Training(NETWORK, 0.05, scheme="rk5"), ValueError, "scheme: expected one of"),
    "batch": (lambda: Training(NETWORK, 0.05, batch=0), ValueError, "batch: expected at least 1"),
    "rate": (lambda: Training(NETWORK, 0.05, learning_rate=-1.0), ValueError, "learning_rate: expected a positive"),
    "factor": (lambda: Training(NETWORK, 0.05, rate_factor=1.0), ValueError, "rate_factor: expected a number below 1"),
    "base": (
        lambda: Training(NETWORK, 0.05, base=Lorenz96(12, np.ones(12))),
        ValueError,
        "base: expected one number for each parameter",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_does_not_fit_is_refused(kind):
    call, error, message = BAD[kind]
    with pytest.raises(error, match=message):
        call()


def test_a_training_that_blows_up_says_so():
    training = Training(NETWORK, 0.05, epochs=3)
    with pytest.raises(ArithmeticError, match=r"training: expected finite losses, found none for seeds \(5,\)"):
        replace(training, learning_rate=1e300).fit(Y, seeds=[5])
    good, wild = small_weights(), np.full(NETWORK.size, 1e150)
    found = training.fit(Y, seeds=2, weights=np.stack([wild, good]))
    assert found.loss[0] == np.inf and found.loss[1] < np.inf and not found.converged.any()
    for patience in (1, 3):  # a network that blew up has waited once
        patient = replace(training, patience=patience, epochs=12, learning_rate=1e-300).fit(
            Y, seeds=2, weights=np.stack([wild, good])
        )
        assert patient.converged.tolist() == [False, True]
    np.testing.assert_array_equal(found.best, training.fit(Y, seeds=[1], weights=good).best)


def test_losses_of_single_precision_are_sums_in_double():
    """Of a network without weights, whose states stay: squares of departures beyond what single precision holds."""
    y, zero = trajectories(10), np.zeros(NETWORK.size)
    training = Training(NETWORK, 0.05)
    expected = ((y[1:] - y[:-1]) ** 2).mean()
    assert training.loss(zero, y) == pytest.approx(expected)
    large = (1e20 * y).astype(np.float32)
    assert training.loss(zero.astype(np.float32), large) == pytest.approx(1e40 * expected, rel=1e-5)
