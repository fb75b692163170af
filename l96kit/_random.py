"""Random numbers: the generators that users give, and those that are made of them."""

import numpy as np

from l96kit import _arrays


def generator(rng, default=None):
    """A NumPy generator of random numbers. A `default` seed stands for None, where that may be left out."""
    if rng is None and default is not None:
        return np.random.default_rng(default)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng: expected a NumPy generator, found {type(rng).__name__}; pass np.random.default_rng(seed)"
        )
    return rng


def child(rng):
    """A new generator, seeded by numbers that another draws: it follows from the state of that, whatever that came
    from. (`Generator.spawn` follows from its first seed alone, and legacy ones have none.)"""
    return np.random.default_rng(rng.integers(2**64, size=2, dtype=np.uint64))


def seeds(given):
    """Whole numbers that differ: so many from 0 on, or those of a sequence."""
    given = given if isinstance(given, range) else _arrays.array(given, "seeds")
    if np.ndim(given) == 0:
        count = _arrays.count(given, "seeds")
        _arrays.require_memory(8 * count, "seeds", "take fewer")
        return tuple(range(count))
    found = tuple(_arrays.count(seed, "seeds", 0) for seed in given)
    if not found or len(set(found)) < len(found):
        raise ValueError(f"seeds: expected numbers that differ, found {_arrays.shown(given)}; give each once")
    return found
