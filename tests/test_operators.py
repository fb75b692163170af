"""Every operator of the registry passes the battery, at sizes that Hypothesis draws."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import l96kit.kernels
from l96kit import StencilModel
from l96kit.kernels import _targets, lorenz96, observing, training, trajectory
from l96kit.kernels.schemes import SCHEMES
from l96kit.validation import gradients, mutation
from l96kit.validation.battery import battery, failures
from l96kit.validation.operators import OPERATORS, burgers, burgers_ad, burgers_tl

DTYPES = ("float64", "float32")
KERNELS = Path(l96kit.kernels.__file__).parent
FAMILIES = trajectory, training, observing  # those with adjoints


def built_from(operator, dtype):
    """What its kernels are compiled for, sizes left out."""
    return operator.name.split(".")[0], operator.op, operator.scheme, operator.uniform, dtype


def is_whole(operator, dtype):
    """Whether members are also run alone, by a kernel of their own.

    A scheme enters a kernel only by its numbers, and a model only by its three functions; lanes, parameters and
    precision enter all kernels in the same way, and one kernel takes seconds to compile. So Lorenz-96 with RK4 has
    every combination in float64 and one in float32, with any other scheme one in float64, and any other model two that
    between them have both kinds of parameters and both precisions.
    """
    return dtype == "float64" and is_main(operator)


def is_main(operator):
    return operator.name.startswith("lorenz96.") and (operator.op == "tendency" or operator.scheme == "rk4")


def is_sample(operator, dtype):
    if is_main(operator):
        return operator.uniform and dtype == "float32"
    if operator.name.startswith("lorenz96."):
        return operator.uniform and dtype == "float64"
    return operator.uniform == (dtype == "float64")


# Those that share kernels are neighbours, so that one process compiles for all of them.
CASES = sorted(
    (
        (operator, dtype)
        for operator in OPERATORS
        for dtype in DTYPES
        if is_whole(operator, dtype) or is_sample(operator, dtype)
    ),
    key=lambda case: built_from(*case),
)


@st.composite
def ensembles(draw):
    """Members and sites, kept small because the reference adjoint is a matrix."""
    members = draw(st.sampled_from([1, 7, 8, 9, 17]) | st.integers(1, 20))
    return members, draw(st.integers(4, max(5, 120 // members)))


@pytest.mark.parametrize(("operator", "dtype"), CASES, ids=[f"{operator.name}, {dtype}" for operator, dtype in CASES])
@given(size=ensembles(), seed=st.integers(0, 2**32 - 1))
@example(size=(1, 4), seed=0)
@example(size=(9, 5), seed=1)
@example(size=(17, 4), seed=2)
def test_operator_passes_the_battery(operator, dtype, size, seed):
    members, sites = size
    few = 1
    if not is_whole(operator, dtype):
        few, members = 2, max(2, members)
    rng = np.random.default_rng(seed)
    inputs = operator.sample(rng, members, sites, np.dtype(dtype))
    numbers = battery(operator, inputs, rng, few=few)
    assert not failures(numbers, dtype), numbers


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_operator_passes_the_battery_on_a_gpu(operator, dtype):
    for members, sites in ((1, 4), (9, 5), (17, 40), (3, 3000)):
        rng = np.random.default_rng(members)
        inputs = operator.sample(rng, members, sites, np.dtype(dtype))
        only = None if sites <= 40 else ("forward", "tl", "dot")  # the reference adjoint is a matrix
        numbers = battery(operator, inputs, rng, "cuda", only)
        assert not failures(numbers, dtype), numbers


# --- the registry ---------------------------------------------------------------------------------------------------


def test_every_adjoint_in_kernels_has_an_entry():
    found = {
        f"{source.stem}.{node.name}"
        for source in KERNELS.glob("*.py")
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.endswith("_ad")
    }
    assert found == {name for operator in OPERATORS for name in operator.proves}


def test_every_body_has_an_entry():
    built = [family.bodies(lorenz96, SCHEMES["euler"], _targets.cpu_team, 1, True) for family in FAMILIES]
    assert {op for bodies in built for op in bodies} == {op for operator in OPERATORS for op in operator.ops}


def test_every_scheme_has_an_entry():
    assert {operator.scheme for operator in OPERATORS} == set(SCHEMES)


# --- the battery notices --------------------------------------------------------------------------------------------


def burgers_tl_without_speed(x, p, x_tl, p_tl):
    c, nu = p
    return burgers_tl(x, p, x_tl, ((0.0 * c[0],), p_tl[1]))


def burgers_ad_shifted(x, p, y_ad):
    return burgers_ad(x, p, (y_ad[1], y_ad[1], y_ad[-1]))


@pytest.mark.parametrize(
    ("tl", "ad", "expected"),
    [
        (burgers_tl_without_speed, burgers_ad, {"tl", "dot", "slope 2", "broadcast"}),
        (burgers_tl, burgers_ad_shifted, {"ad", "dot"}),
    ],
)
def test_the_battery_notices_a_wrong_derivative(tl, ad, expected):
    def model(sites, c, nu):
        return StencilModel(burgers, tl, ad, sites, 1, {"c": c, "nu": nu})

    right = next(operator for operator in OPERATORS if operator.name.startswith("burgers.tendency"))
    rng = np.random.default_rng(0)
    numbers = battery(replace(right, model=model), right.sample(rng, 9, 6, np.float64), rng, few=2)
    assert {failure.split(":")[0] for failure in failures(numbers, "float64")} == expected


def test_planted_faults_are_caught():
    """All of them are planted by `python -m l96kit.validation.mutation`; here one in each of some files."""
    one_each = {fault.path: fault for fault in mutation.faults() if not mutation.equivalent(fault)}
    assert set(one_each) == set(mutation.PLACES)
    some = list(one_each.values())[::4]
    caught = mutation.plant_all(some)
    assert all(caught), [fault for fault, by in zip(some, caught) if by is None]


def test_each_fault_that_does_not_count_is_one_that_is_planted():
    names = [(fault.function, fault.before, fault.after) for fault in mutation.faults()]
    for function, before, after, _ in mutation.EQUIVALENT:
        matches = [n for n in names if n[0] == function and n[2] == n[1].replace(before, after) != n[1]]
        assert len(matches) == 1, (function, before, after)


@pytest.mark.parametrize(("error", "status", "verdict"), [(1e-16, 0, "holds"), (np.nan, 1, "ad: expected 0 to within")])
def test_the_table_gives_the_verdict(error, status, verdict, monkeypatch, capsys, tmp_path):
    numbers = {"forward": 1e-16, "ad": error, "slope 1": 1.0}
    monkeypatch.setattr(gradients, "run_all", lambda function, tasks, *names, **choices: [numbers] * len(tasks))
    chosen = ["--target", "cpu", "--dtype", "float64", "--json", str(tmp_path / "numbers.json")]
    assert gradients.main(chosen) == status
    table = capsys.readouterr().out
    assert table.count(f"| {verdict}") == len(OPERATORS)
    stored = json.loads((tmp_path / "numbers.json").read_text())
    assert len(stored["operators"]) == len(OPERATORS)
    assert stored["provenance"]["versions"]["numpy"] == np.__version__
