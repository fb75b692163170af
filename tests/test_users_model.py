"""A user's own model at the border: functions that are not what the kernels need are refused by name."""

import numpy as np
import pytest

from l96kit import StencilModel

K = 9


def decay(x, p):
    (rate,) = p
    return -rate[0] * x[0]


def decay_tl(x, p, x_tl, p_tl):
    return -p[0][0] * x_tl[0] - p_tl[0][0] * x[0]


def decay_ad(x, p, y_ad):
    return -p[0][0] * y_ad[0], (-x[0] * y_ad[0],)


BAD_MODELS = {
    "too few arguments": (
        {"at_site": lambda x: -x[0]},
        TypeError,
        r"at_site: expected a function of \(x, p\), found one of \(x\); mend its signature",
    ),
    "too many arguments": (
        {"at_site_tl": lambda x, p, x_tl, p_tl, t: -x_tl[0]},
        TypeError,
        r"at_site_tl: expected a function of \(x, p, x_tl, p_tl\), found one of \(x, p, x_tl, p_tl, t\); mend",
    ),
    "no function": (
        {"at_site_ad": np.sin},
        TypeError,
        r"at_site_ad: expected a Python function of \(x, p, y_ad\), found ufunc; write it with def",
    ),
    "looks too far": (
        {"at_site": lambda x, p: x[2]},
        ValueError,
        r"at_site: expected it to look at most reach = 1 sites away .* found x\[2\]; raise `reach`",
    ),
    "unknown parameter": (
        {"at_site": lambda x, p: p[1][0] * x[0]},
        ValueError,
        "at_site: expected it to look .* at 1 parameters, found tuple index out of range; .* name the parameters",
    ),
    "two parameters of one": (
        {"at_site": lambda x, p: [-a[0] * b[0] for a, b in (p,)]},
        ValueError,
        r"at_site: expected it to look .* at 1 parameters, found not enough values to unpack .*; raise",
    ),
    "returns nothing": (
        {"at_site": lambda x, p: None},
        TypeError,
        "at_site: expected it to return one number, found None; mend what it returns",
    ),
    "returns an array": (
        {"at_site_tl": lambda x, p, x_tl, p_tl: np.array(x_tl)},
        TypeError,
        "at_site_tl: expected it to return one number, found array",
    ),
    "no gradient of its parameter": (
        {"at_site_ad": lambda x, p, y_ad: -p[0][0] * y_ad[0]},
        TypeError,
        "at_site_ad: expected it to return a number and a tuple of 1, one for each parameter, found ",
    ),
    "too many gradients": (
        {"at_site_ad": lambda x, p, y_ad: (y_ad[0], (x[0], x[0]))},
        TypeError,
        "at_site_ad: expected it to return a number and a tuple of 1, one for each parameter, found ",
    ),
    "parameters in a list": ({"parameters": [1.0]}, TypeError, "parameters: expected a dict of name -> value, found l"),
    "parameter NaN": ({"parameters": {"rate": np.nan}}, ValueError, "rate: expected finite numbers, found nan; mend"),
    "short ring": ({"sites": 3}, ValueError, "sites: expected at least 4, found 3; choose sites >= 4"),
    "ring shorter than reach": ({"sites": 5, "reach": 6}, ValueError, "sites: expected at least 6, found 5; choose"),
    "reach = 0": ({"reach": 0}, ValueError, "reach: expected at least 1, found 0; choose reach >= 1"),
}


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_bad_models_are_refused(kind):
    changes, error, message = BAD_MODELS[kind]
    good = {"at_site": decay, "at_site_tl": decay_tl, "at_site_ad": decay_ad, "sites": K, "reach": 1}
    with pytest.raises(error, match=f"^{message}"):
        StencilModel(**{**good, "parameters": {"rate": 2.0}, **changes})


def test_a_model_that_the_trial_numbers_do_not_suit_is_taken():
    def root(x, p):
        if x[0] < 100.0:
            raise ValueError("made for large numbers")
        return x[0] / 2

    model = StencilModel(
        root, lambda x, p, x_tl, p_tl: x_tl[0] / 2, lambda x, p, y_ad: (y_ad[0] / 2, ()), sites=4, reach=1
    )
    np.testing.assert_array_equal(model.tendency(np.full(4, 200.0)), np.full(4, 100.0))
