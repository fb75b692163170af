"""What all tests share: how Hypothesis draws, and which tests need a GPU."""

import os

import pytest
from hypothesis import HealthCheck, settings

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
