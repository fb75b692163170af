"""How many time steps a run has: whole numbers, or times in units of the model, that a run can live to see."""

from l96kit import _arrays

MOST_STEPS = 10**12  # a day for one state of 40 sites


def step_count(steps, name, least=1):
    """A whole number of time steps."""
    if _arrays.count(steps, name, least) > MOST_STEPS:
        raise ValueError(
            f"{name}: expected at most {MOST_STEPS:,} time steps, found {steps:,}; they would take years: take fewer"
        )
    return int(steps)


def steps_of(time, name, propagator):
    """The same of a time in units of the model."""
    steps = _arrays.positive(time, name, " of time units") / propagator.dt
    if steps > MOST_STEPS:
        raise ValueError(
            f"{name}: expected at most {MOST_STEPS * propagator.dt:g} time units, found {time:g}; they would take "
            "years: take fewer"
        )
    return round(steps)
