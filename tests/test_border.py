"""What comes in at the border: bad input is refused by name before any work, odd but good input gives right numbers."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from l96kit import Lorenz96, Propagator, Training
from l96kit.networks import sq_net
from l96kit.reference import lorenz96 as reference
from l96kit.reference import runge_kutta

K, DT = 9, 0.05
MODEL = Lorenz96(K, 8.0)
PROPAGATOR = Propagator(MODEL, DT)
RNG = np.random.default_rng(5)
X = 8 + RNG.standard_normal((11, K))
STATES = RNG.standard_normal((3, 11, K))


def expected_trajectory(x, steps):
    return runge_kutta.trajectory(lambda y: reference.tendency(y, 8.0), x, DT, steps)


def close(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-11)


def square(y, t):
    return float((y**2).sum()) / 2, y


class DeviceArray:
    """What looks like an array on a GPU."""

    dtype, shape, ndim, size = np.dtype(float), (11, K), 2, 11 * K
    __cuda_array_interface__ = {"shape": shape, "typestr": "<f8", "data": (0, False), "version": 3}


# --- arrays that must be refused ------------------------------------------------------------------------------------

BAD_ARRAYS = {
    "integers": (np.ones((3, K), int), TypeError, "expected float32 or float64, found int64; convert it first"),
    "complex": (np.ones((3, K), complex), TypeError, "expected float32 or float64, found complex128; convert"),
    "objects": (np.ones((3, K), object), TypeError, "expected float32 or float64, found object; convert"),
    "half precision": (np.ones((3, K), np.float16), TypeError, "expected float32 or float64, found float16; convert"),
    "other byte order": (np.ones((3, K), ">f8"), TypeError, "expected float32 or float64, found >f8; convert"),
    "nothing": (None, TypeError, "expected float32 or float64, found NoneType; convert"),
    "sparse": (csr_array(np.ones((3, K))), TypeError, "expected float32 or float64, found csr_array; convert"),
    "ragged": ([[1.0] * K, [1.0]], ValueError, "expected an array, found something of no regular shape .* one length"),
    "masked": (np.ma.masked_greater(X, 8), ValueError, "a number everywhere, found masked ones; fill them first"),
    "wrong sites": (np.ones((3, K + 1)), ValueError, rf"shape \(\.\.\., {K}\), .* found \(3, {K + 1}\); build"),
    "transposed": (np.ones((K, 3)), ValueError, rf"shape \(\.\.\., {K}\), .* found \({K}, 3\); .* transpose the array"),
    "a number": (np.float64(8.0), ValueError, rf"expected shape \(\.\.\., {K}\), .* found \(\); build the model"),
    "no members": (np.ones((0, K)), ValueError, rf"at least one member, found shape \(0, {K}\); the ensemble is empty"),
    "no members inside": (np.ones((2, 0, K)), ValueError, rf"at least one member, found shape \(2, 0, {K}\);"),
    "NaN": (np.where(np.arange(3 * K).reshape(3, K) == K + 4, np.nan, 1.0), ValueError, r"found nan at index \(1, 4\)"),
    "infinite": (np.full(K, -np.inf), ValueError, r"expected finite numbers, found -inf at index \(0,\); mend"),
    "on a GPU": (DeviceArray(), TypeError, "an array in main memory, found one on a GPU; take Propagator.*'cuda'"),
}

ENTRIES = {
    "tendency": ("x", MODEL.tendency),
    "tendency_tl about": ("x", lambda bad: MODEL.tendency_tl(bad, X)),
    "tendency_tl": ("x_tl", lambda bad: MODEL.tendency_tl(X, bad)),
    "tendency_ad": ("y_ad", lambda bad: MODEL.tendency_ad(X, bad)),
    "step": ("x", PROPAGATOR.step),
    "forecast": ("x", lambda bad: PROPAGATOR.forecast(bad, 3)),
    "trajectory": ("x", lambda bad: PROPAGATOR.trajectory(bad, 3)),
    "trajectory_tl about": ("x", lambda bad: PROPAGATOR.trajectory_tl(bad, X, 3)),
    "trajectory_tl": ("x_tl", lambda bad: PROPAGATOR.trajectory_tl(X, bad, 3)),
    "trajectory_ad about": ("x", lambda bad: PROPAGATOR.trajectory_ad(bad, STATES)),
    "trajectory_ad": ("y_ad", lambda bad: PROPAGATOR.trajectory_ad(X, bad)),
    "step_ad": ("y_ad", lambda bad: PROPAGATOR.step_ad(X, bad)),
    "gradient": ("x", lambda bad: PROPAGATOR.gradient(bad, square, 3)),
    "jacobian": ("x", PROPAGATOR.jacobian),
    "linear_operator": ("x", PROPAGATOR.linear_operator),
    "jacobian of the tendency": ("x", MODEL.jacobian),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_bad_arrays_are_refused_by_name(entry, kind):
    (name, call), (bad, error, message) = ENTRIES[entry], BAD_ARRAYS[kind]
    with pytest.raises(error, match=f"^{name}: .*{message}"):
        call(bad)


PAIRS = {
    "tendency_tl": (lambda other: MODEL.tendency_tl(X, other), r"x_tl: .* against x \(11, 9\), found \(4, 9\); give"),
    "tendency_ad": (lambda other: MODEL.tendency_ad(X, other), r"y_ad: .* against x \(11, 9\), found \(4, 9\); give"),
    "trajectory_tl": (
        lambda other: PROPAGATOR.trajectory_tl(X, other, 2),
        r"x_tl: .* against x \(11, 9\), found \(4, 9\); give both the same leading axes",
    ),
    "trajectory_ad": (
        lambda other: PROPAGATOR.trajectory_ad(X, other),
        r"y_ad: expected shape \(time, 11, 9\), found \(4, 9\); one slice for each stored time",
    ),
}


@pytest.mark.parametrize("entry", PAIRS)
def test_shapes_must_fit_each_other(entry):
    call, message = PAIRS[entry]
    with pytest.raises(ValueError, match=message):
        call(np.ones((4, K)))


@pytest.mark.parametrize("entry", PAIRS)
def test_precisions_are_not_mixed(entry):
    call, _ = PAIRS[entry]
    with pytest.raises(TypeError, match=r"expected float64 as the other arrays, found float32; use .*\('float64'\)"):
        call(np.ones((11, K), "float32"))


@pytest.mark.parametrize("call", [PROPAGATOR.linear_operator])
def test_a_matrix_is_of_one_state(call):
    with pytest.raises(ValueError, match=r"x: expected one state \(9,\), found \(11, 9\); call once for each member"):
        call(X)


# --- numbers and choices that must be refused -----------------------------------------------------------------------

BAD_CHOICES = {
    "K = 3": (lambda: Lorenz96(3), ValueError, "K: expected at least 4, found 3; choose K >= 4"),
    "K = 40.0": (lambda: Lorenz96(40.0), TypeError, "K: expected a whole number, found 40.0; pass an int"),
    "F NaN": (lambda: Lorenz96(K, np.nan), ValueError, "F: expected finite numbers, found nan; mend the data"),
    "F infinite at a site": (
        lambda: Lorenz96(4, [8, np.inf, 8, 8]),
        ValueError,
        r"F: expected finite numbers, found inf at index \(1,\); mend the data",
    ),
    "F of wrong length": (
        lambda: Lorenz96(K, np.ones(K + 1)),
        ValueError,
        r"F: expected a number or a shape that broadcasts to the ensemble \(9,\), found \(10,\); pass one value,",
    ),
    "F of wrong length for members": (
        lambda: Lorenz96(K, np.ones((11, K + 1))),
        ValueError,
        r"F: .* broadcasts to the ensemble \(11, 9\), found \(11, 10\); pass one value",
    ),
    "F for other members": (
        lambda: Lorenz96(K, np.ones((4, K))).tendency(X),
        ValueError,
        r"F: .* broadcasts to the ensemble \(11, 9\), found \(4, 9\); pass one value",
    ),
    "F complex": (lambda: Lorenz96(K, 8j), TypeError, "F: expected real numbers, found complex128; pass a float"),
    "F text": (lambda: Lorenz96(K, "8"), TypeError, "F: expected real numbers, found <U1; pass a float"),
    "F missing": (lambda: Lorenz96(K, None), TypeError, "F: expected real numbers, found NoneType; pass a float"),
    "dt = 0": (lambda: Propagator(MODEL, 0), ValueError, r"dt: .* positive finite number \(time units\), found 0;"),
    "dt < 0": (lambda: Propagator(MODEL, -0.1), ValueError, "dt: expected a positive finite .* found -0.1; choose dt"),
    "dt NaN": (lambda: Propagator(MODEL, np.nan), ValueError, "dt: expected a positive finite .* found nan; choose"),
    "dt infinite": (lambda: Propagator(MODEL, np.inf), ValueError, "dt: expected a positive finite .* found inf; ch"),
    "dt text": (lambda: Propagator(MODEL, "0.05"), TypeError, r"dt: expected a number, found '0.05'; pass a float"),
    "dt an array": (lambda: Propagator(MODEL, X), TypeError, r"dt: expected a number, found array"),
    "scheme": (
        lambda: Propagator(MODEL, DT, "rk5"),
        ValueError,
        "scheme: expected one of 'euler', 'heun', 'rk4', 'rk38', found 'rk5'; choose one of them",
    ),
    "device": (
        lambda: Propagator(MODEL, DT, device="gpu"),
        ValueError,
        "device: expected one of 'cpu', 'cuda', found 'gpu'; choose one of them",
    ),
    "threads = 0": (lambda: Propagator(MODEL, DT, threads=0), ValueError, "threads: expected at least 1, found 0; ch"),
    "no model": (lambda: Propagator(X, DT), TypeError, "model: expected a model such as .* found ndarray; see l96kit"),
    "steps < 0": (lambda: PROPAGATOR.trajectory(X, -1), ValueError, "steps: expected at least 0, found -1; choose"),
    "forecast steps < 0": (lambda: PROPAGATOR.forecast(X, -1), ValueError, "steps: expected at least 0, found -1; ch"),
    "steps = 2.0": (lambda: PROPAGATOR.trajectory(X, 2.0), TypeError, "steps: expected a whole number, found 2.0; p"),
    "every = 0": (lambda: PROPAGATOR.trajectory(X, 2, 0), ValueError, "every: expected at least 1, found 0; choose"),
    "every < 0": (lambda: PROPAGATOR.trajectory_ad(X, STATES, -1), ValueError, "every: expected at least 1, found -1;"),
    "steps not a multiple": (
        lambda: PROPAGATOR.trajectory(X, 10, 3),
        ValueError,
        "steps: expected a multiple of every = 3, found 10; take 9 or 12",
    ),
    "jacobian of no steps": (lambda: PROPAGATOR.jacobian(X[0], 0), ValueError, "steps: expected at least 1, found 0;"),
    "checkpoints = 0": (
        lambda: PROPAGATOR.gradient(X, square, 2, checkpoints=0),
        ValueError,
        "checkpoints: expected at least 1, found 0; choose checkpoints >= 1",
    ),
    "unknown parameter": (
        lambda: PROPAGATOR.trajectory_tl(X, X, 2, parameters_tl={"G": 1.0}),
        ValueError,
        "parameters_tl: expected one of 'F', found 'G'; choose one of them",
    ),
    "parameters in a list": (
        lambda: PROPAGATOR.trajectory_tl(X, X, 2, parameters_tl=[1.0]),
        TypeError,
        "parameters_tl: expected a dict of name -> value, found list; pass a dict",
    ),
    "parameter's change in words": (
        lambda: MODEL.tendency_tl(X, X, {"F": "more"}),
        TypeError,
        "F: expected real numbers, found ",
    ),
    "parameter's change of wrong shape": (
        lambda: MODEL.tendency_tl(X, X, {"F": np.ones(K - 1)}),
        ValueError,
        r"F: .* broadcasts to the ensemble \(11, 9\), found \(8,\); pass one value",
    ),
    "cost without gradient": (
        lambda: PROPAGATOR.gradient(X, lambda y, t: 1.0, 2),
        TypeError,
        r"cost: expected it to return a pair \(J, y_ad\), found float; return both",
    ),
    "cost of wrong shape": (
        lambda: PROPAGATOR.gradient(X, lambda y, t: (1.0, y[-1]), 2),
        ValueError,
        r"cost: expected y_ad of shape \(3, 11, 9\) like y, found \(11, 9\); return dJ/dy",
    ),
    "cost complex": (
        lambda: PROPAGATOR.gradient(X, lambda y, t: (1.0, 1j * y), 2),
        TypeError,
        "cost: expected y_ad of real numbers, found complex128; return dJ/dy",
    ),
    "cost NaN": (
        lambda: PROPAGATOR.gradient(X, lambda y, t: (1.0, y * np.where(np.arange(11) == 3, np.nan, 1)[:, None]), 2),
        OverflowError,
        "gradient: expected finite numbers, found none for member 3; either y_ad is not finite or .* 2 steps back",
    ),
}


@pytest.mark.parametrize("kind", BAD_CHOICES)
def test_bad_choices_are_refused(kind):
    call, error, message = BAD_CHOICES[kind]
    with pytest.raises(error, match=f"^{message}"):
        call()


def test_cuda_asked_for_and_absent():
    from l96kit.kernels.launch import require_cuda

    try:
        require_cuda()
    except RuntimeError:
        for make in (lambda: Propagator(MODEL, DT, device="cuda"), lambda: Training(sq_net(), DT, device="cuda")):
            with pytest.raises(RuntimeError, match="^device: expected .*, found .*take device='cpu'"):
                make()
    else:
        assert Propagator(MODEL, DT, device="cuda").step(X).shape == X.shape


# --- odd arrays that must work --------------------------------------------------------------------------------------


def unaligned(x):
    room = np.zeros(x.nbytes + 1, np.uint8)
    view = room[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def read_only(x):
    copy = x.copy()
    copy.flags.writeable = False
    return copy


VIEWS = {
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "Fortran order": np.asfortranarray,
    "every second": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every second site": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": read_only,
    "unaligned": unaligned,
    "a list": lambda x: x.tolist(),
    "masked nowhere": np.ma.array,
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_views_give_the_same_bits(view):
    x_tl, y_ad = STATES[0], STATES[1]
    np.testing.assert_array_equal(MODEL.tendency(view(X)), MODEL.tendency(X))
    np.testing.assert_array_equal(MODEL.tendency_tl(view(X), view(x_tl)), MODEL.tendency_tl(X, x_tl))
    np.testing.assert_array_equal(MODEL.tendency_ad(view(X), view(y_ad))[0], MODEL.tendency_ad(X, y_ad)[0])
    np.testing.assert_array_equal(PROPAGATOR.trajectory(view(X), 4, 2), PROPAGATOR.trajectory(X, 4, 2))
    np.testing.assert_array_equal(
        PROPAGATOR.trajectory_tl(view(X), view(x_tl), 4, 2), PROPAGATOR.trajectory_tl(X, x_tl, 4, 2)
    )
    np.testing.assert_array_equal(PROPAGATOR.step_ad(view(X), view(y_ad))[0], PROPAGATOR.step_ad(X, y_ad)[0])
    found = PROPAGATOR.gradient(view(X), lambda y, t: (0.0, np.asfortranarray(y)), 4, 2)[1]
    np.testing.assert_array_equal(found, PROPAGATOR.gradient(X, lambda y, t: (0.0, y), 4, 2)[1])


def test_a_read_only_array_is_not_compiled_for_anew():
    from l96kit.kernels import launch

    for x in (X, read_only(X)):
        PROPAGATOR.step(x), PROPAGATOR.step_ad(x, x), PROPAGATOR.step_tl(x, x)
    for op in ("trajectory", "trajectory_tl", "trajectory_ad"):
        kernel, _ = launch._cpu_kernel(MODEL.kernel, op, "rk4", 8, True, np.dtype(float))
        assert len(kernel.signatures) == 1


def test_broadcast_arrays():
    x = np.broadcast_to(X[0], (11, K))
    close(PROPAGATOR.trajectory(x, 3), expected_trajectory(np.array(x), 3))
    one_for_all = PROPAGATOR.trajectory_tl(X[0], STATES[0], 3)
    np.testing.assert_array_equal(one_for_all, PROPAGATOR.trajectory_tl(x, STATES[0], 3))
    both = PROPAGATOR.trajectory_tl(X[:, None], STATES[0, :4], 3)
    assert both.shape == (4, 11, 4, K)
    np.testing.assert_array_equal(both[:, 5, 2], PROPAGATOR.trajectory_tl(X, np.tile(STATES[0, 2], (11, 1)), 3)[:, 5])


def test_input_is_left_as_it_was():
    x, x_tl, y_ad = X.copy(), STATES[0].copy(), STATES.copy()
    MODEL.tendency_ad(x, x_tl)
    PROPAGATOR.trajectory(x, 3)
    PROPAGATOR.trajectory_tl(x, x_tl, 3)
    PROPAGATOR.trajectory_ad(x, y_ad)
    PROPAGATOR.gradient(x, lambda y, t: (0.0, y_ad), 2)
    PROPAGATOR.gradient(x, lambda y, t: (0.0, y_ad[t]), 2, checkpoints=1)
    for found, expected in ((x, X), (x_tl, STATES[0]), (y_ad, STATES)):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("leading", [(), (1,), (11,), (1, 11), (11, 1, 1), (1, 11, 1)])
def test_any_leading_axes(leading):
    x = X.reshape(-1, K)[: int(np.prod(leading))].reshape(*leading, K)
    close(PROPAGATOR.trajectory(x, 3), expected_trajectory(x, 3))
    close(MODEL.tendency(x), reference.tendency(x, 8.0))
    rows = x.reshape(-1, K)
    states = PROPAGATOR.trajectory(rows, 3)
    x_ad, parameters_ad = PROPAGATOR.trajectory_ad(x, states.reshape(4, *x.shape))
    rows_ad, rows_parameters_ad = PROPAGATOR.trajectory_ad(rows, states)
    np.testing.assert_array_equal(x_ad, rows_ad.reshape(x.shape))
    np.testing.assert_array_equal(parameters_ad["F"], rows_parameters_ad["F"])


def test_many_members_are_those_of_one():
    x = np.tile(X, (400, 1))
    found = PROPAGATOR.forecast(x, 3).reshape(400, 11, K)
    np.testing.assert_array_equal(found, np.broadcast_to(PROPAGATOR.forecast(X, 3), found.shape))


def test_whole_numbers_of_any_kind():
    """A count of eight bits must not overflow on the way."""
    found = PROPAGATOR.trajectory(X, np.int64(400), np.uint8(200))
    np.testing.assert_array_equal(found, PROPAGATOR.trajectory(X, 400, 200))
    x_tl = 1e-6 * X
    found = PROPAGATOR.trajectory_tl(X, x_tl, np.int16(400), np.uint8(200))
    np.testing.assert_array_equal(found, PROPAGATOR.trajectory_tl(X, x_tl, 400, 200))
    found = PROPAGATOR.gradient(X, square, np.int16(400), np.uint8(200))[1]
    np.testing.assert_array_equal(found, PROPAGATOR.gradient(X, square, 400, 200)[1])
    np.testing.assert_array_equal(Propagator(MODEL, np.float32(0.5)).step(X), Propagator(MODEL, 0.5).step(X))


def test_no_steps():
    np.testing.assert_array_equal(PROPAGATOR.trajectory(X, 0), X[None])
    np.testing.assert_array_equal(PROPAGATOR.trajectory(X, 0, every=5), X[None])
    later = PROPAGATOR.forecast(X, 0)
    np.testing.assert_array_equal(later, X)
    assert not np.shares_memory(later, X)
    np.testing.assert_array_equal(PROPAGATOR.trajectory_tl(X, STATES[0], 0), STATES[:1])
    x_ad, parameters_ad = PROPAGATOR.trajectory_ad(X, STATES[:1])
    np.testing.assert_array_equal(x_ad, STATES[0])
    assert float(parameters_ad["F"]) == 0
    J, x_ad, _ = PROPAGATOR.gradient(X, square, 0)
    assert pytest.approx((X**2).sum() / 2, rel=1e-15) == J
    np.testing.assert_array_equal(x_ad, X)


def test_an_operator_keeps_its_state():
    x = X[0].copy()
    operator = PROPAGATOR.linear_operator(x, 2)
    expected = operator @ X[1], operator.rmatvec(X[1])
    x[:] = X[2]
    np.testing.assert_array_equal((operator @ X[1], operator.rmatvec(X[1])), expected)


def test_a_matrix_times_complex_numbers_is_complex():
    operator, v = PROPAGATOR.linear_operator(X[0], 2), X[1] + 1j * X[2]
    matrix = PROPAGATOR.jacobian(X[0], 2)
    np.testing.assert_allclose(operator @ v, matrix @ v, rtol=1e-12)
    np.testing.assert_allclose(operator.T @ v, matrix.T @ v, rtol=1e-12)


def test_costs_of_parts_are_added_whatever_their_form():
    buffer = np.empty(len(X))

    def cost(y, t):
        buffer[:] = (y**2).sum(axis=(0, 2)) / 2
        return buffer, y

    def listed(y, t):
        return cost(y, t)[0].tolist(), y

    expected = (PROPAGATOR.trajectory(X, 6) ** 2).sum(axis=(0, 2)) / 2
    for function in (cost, listed):
        for checkpoints in (None, 1, 3):
            found = PROPAGATOR.gradient(X, function, 6, checkpoints=checkpoints)[0]
            np.testing.assert_allclose(found, expected, rtol=1e-14)
    with pytest.raises(ValueError, match=r"cost: expected J of shape \(\) or \(11,\), found \(2, 2\)"):
        PROPAGATOR.gradient(X, lambda y, t: (np.zeros((2, 2)), y), 6)


def test_what_is_too_large_is_refused_at_once():
    with pytest.raises(ValueError, match="steps: expected at most"):
        PROPAGATOR.trajectory(X, 10**30, 10**30)
    with pytest.raises(ValueError, match="steps: expected at most .* stored times"):
        PROPAGATOR.gradient(X, square, 10**12, checkpoints=4)
    with pytest.raises(MemoryError, match="trajectory: expected memory for .* larger `every`"):
        PROPAGATOR.trajectory(X, 2**31)
    with pytest.raises(ValueError, match="F: expected numbers within the range of float32, found 1e"):
        Lorenz96(K, 1e39).tendency(X.astype("float32"))


def test_out_that_overlaps_itself_is_refused():
    out = np.lib.stride_tricks.as_strided(np.zeros(K), X.shape, (0, 8))
    with pytest.raises(ValueError, match="out: expected places of its own for all numbers"):
        PROPAGATOR.step(X, out=out)


def test_models_with_arrays_can_be_compared_and_hashed():
    one, same, other = (Propagator(Lorenz96(K, F), DT) for F in (X[0], X[0].copy(), X[0] + 1))
    assert one == same != other and len({one, same, other}) == 2


def test_a_forcing_in_double_precision_leaves_single_precision_alone():
    x = X.astype("float32")
    for F in (8.0, np.full(K, 8.0), [8] * K):
        found = Propagator(Lorenz96(K, F), DT).trajectory(x, 3)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected_trajectory(X, 3), rtol=1e-4, atol=1e-4)
    assert MODEL.tendency_ad(x, x)[1]["F"].dtype == np.float32


# --- out ------------------------------------------------------------------------------------------------------------

OUT_ENTRIES = {
    "tendency": (lambda out: MODEL.tendency(X, out), (11, K)),
    "step": (lambda out: PROPAGATOR.step(X, out), (11, K)),
    "forecast": (lambda out: PROPAGATOR.forecast(X, 4, out), (11, K)),
    "trajectory": (lambda out: PROPAGATOR.trajectory(X, 4, 2, out), (3, 11, K)),
}


@pytest.mark.parametrize("entry", OUT_ENTRIES)
def test_out(entry):
    call, shape = OUT_ENTRIES[entry]
    expected = call(None)
    outs = {
        "plain": np.full(shape, np.nan),
        "Fortran order": np.full(shape, np.nan, order="F"),
        "strided": np.full((*shape, 2), np.nan)[..., 1],
        "backwards": np.full(shape, np.nan)[..., ::-1],
        "unaligned": unaligned(np.full(shape, np.nan)),
    }
    for out in outs.values():
        assert call(out) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("entry", OUT_ENTRIES)
def test_bad_out(entry):
    call, shape = OUT_ENTRIES[entry]
    wanted = "out: expected a NumPy array float64 \\(" + ", ".join(map(str, shape)) + "\\), found "
    with pytest.raises(ValueError, match=rf"^{wanted}float64 \(12, {K}\); allocate one like it"):
        call(np.empty((12, K)))
    with pytest.raises(ValueError, match=rf"^{wanted}float32 .*; allocate one like it"):
        call(np.empty(shape, "float32"))
    with pytest.raises(ValueError, match=f"^{wanted}list; allocate one like it"):
        call([0.0])
    with pytest.raises(ValueError, match="^out: expected a writeable array, found a read-only one; pass a copy"):
        call(read_only(np.empty(shape)))


def test_out_is_refused_before_any_work():
    """A run of hours must not end with a complaint about `out`: this one would blow up in its first step."""
    with pytest.raises(ValueError, match="^out: expected"):
        Propagator(MODEL, 1e6).forecast(X, 5, out=np.empty((4, K)))


def test_out_may_be_x_or_overlap_it():
    expected_tendency, expected_step = MODEL.tendency(X), PROPAGATOR.forecast(X, 4)
    pairs = ((MODEL.tendency, expected_tendency), (lambda x, out: PROPAGATOR.forecast(x, 4, out), expected_step))
    for call, expected in pairs:
        x = X.copy()
        call(x, out=x)
        np.testing.assert_array_equal(x, expected)
        room = np.zeros((12, K))
        room[1:] = X
        call(room[1:], out=room[:-1])
        np.testing.assert_array_equal(room[:-1], expected)
        x = X.copy()
        call(x, out=x[::-1])
        np.testing.assert_array_equal(x[::-1], expected)


@pytest.mark.parametrize("first", [0, 7, 22])
@pytest.mark.parametrize("direction", [1, -1])
def test_the_start_may_lie_in_the_trajectory(first, direction):
    """x is any eleven rows of the array that the trajectory is written to."""
    expected = PROPAGATOR.trajectory(X, 2)
    room = np.zeros((33, K))
    x = room[first : first + 11][::direction]
    x[...] = X
    out = room.reshape(3, 11, K)
    assert PROPAGATOR.trajectory(x, 2, out=out) is out
    np.testing.assert_array_equal(out, expected)
