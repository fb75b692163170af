"""What all tests share: how Hypothesis draws, which tests need a GPU, and what compiled code must not hold."""

import os
import re
from unittest import mock
from weakref import WeakValueDictionary

import pytest
from hypothesis import HealthCheck, settings

from l96kit.kernels import _targets

# The first example of a kernel compiles it, which takes seconds; sizes compile nothing. On a server the examples are
# the same each time, elsewhere they are new ones.
settings.register_profile(
    "l96kit",
    deadline=None,
    max_examples=6,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("l96kit")


def pytest_collection_modifyitems(items):
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if marked and not _has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


def _has_gpu():
    from l96kit.kernels.launch import require_cuda

    try:
        require_cuda()
    except RuntimeError:
        return False
    return True


@pytest.fixture(scope="session", autouse=True)
def single_precision_stays_in_kernels():
    """No kernel for float32 that a test runs may compute in double precision with numbers of its arrays, but add them
    up: the types are read in the compiled code. (Time steps and learning rates are double anyway.)"""
    compile_cpu, kernels = _targets.compile_cpu, WeakValueDictionary()  # those of models that are gone are freed

    def recorded(body, cut, name):
        kernels[name] = kernel = compile_cpu(body, cut, name)
        return kernel

    with mock.patch.object(_targets, "compile_cpu", recorded):
        yield
    for name, kernel in kernels.items():
        if name.endswith("float32"):
            for code in getattr(kernel, "overloads", {}).values():  # none if nothing is compiled
                found = made_double(str(code.library._get_module_for_linking()))
                assert not found, f"{name}: expected float32 alone, found {found[:3]}"


def made_double(text):
    """Products, quotients and differences in LLVM's language of what was extended from float32."""
    found = []
    for function in text.split("\ndefine ")[1:]:
        extended = re.findall(r"(%\S+) = fpext ", function)
        for line in re.findall(r"= f(?:mul|div|sub) .*double.*", function) if extended else ():
            found += [line for name in re.findall(r"%[^\s,]+", line) if name in extended]
    return found
