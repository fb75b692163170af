"""All that is known here of DAPPER: its twin experiments and methods, made from ours."""

from importlib import import_module

import numpy as np

from l96kit.filters import ESRF, ETKF, LETKF, EnKF, EnKFN, IEnKS, ParticleFilter

_UPDATES = {EnKF: "PertObs", ETKF: "Sqrt", ESRF: "Serial"}
BLOW_UPS = (RuntimeError, np.linalg.LinAlgError, FloatingPointError, ValueError)  # what it raises varies
RESAMPLED_BELOW = 0.2  # as a part of all particles: the number of those that count


def quiet():
    """Without progress bars, and with no scores but errors."""
    import dapper
    from dapper.tools import progressbar

    progressbar.disable_progbar = True
    dapper.rc.comps["error_only"] = True


def has_peer(method):
    return isinstance(method, (*_UPDATES, EnKFN, LETKF, IEnKS, ParticleFilter))


def is_deterministic(method):
    """Whether both draw no random numbers once nothing is rotated; DAPPER takes serial observations in random order."""
    return has_peer(method) and not isinstance(method, (EnKF, ESRF, ParticleFilter))


def peer_of(method):
    """DAPPER's method with the same tuning; its particle filter keeps weights until few particles count."""
    from dapper import da_methods

    if isinstance(method, ParticleFilter):
        return da_methods.PartFilt(N=method.members, NER=RESAMPLED_BELOW, reg=method.jitter)
    common = {"N": method.members, "infl": method.inflation, "rot": method.rotation}
    if isinstance(method, EnKFN):
        return da_methods.EnKF_N(xN=method.strength, **common)
    if isinstance(method, LETKF):
        return da_methods.LETKF(loc_rad=method.localization.radius, **common)
    if isinstance(method, IEnKS):
        own = {"Lag": method.lag, "nIter": method.iterations, "wtol": method.tolerance}
        return da_methods.iEnKS(upd_a="Sqrt", **own, **common)
    return da_methods.EnKF(upd_a=_UPDATES[type(method)], **common)


def run(experiment, method, batch=1):
    """DAPPER's method after it went through one experiment of ours: the same truth, observations and first ensemble.

    batch : neighbouring sites that share a local analysis; 1 for one each, as ours
    """
    from dapper.tools.seeding import set_seed

    (seed,) = experiment.seeds
    quiet()
    set_seed(seed + 1)
    truth, values = experiment.truth[:, 0], experiment.observations.values[:, 0]
    xx = np.zeros((experiment.every * experiment.cycles + 1, truth.shape[1]))
    xx[experiment.every :: experiment.every] = truth
    found = peer_of(method)
    found.assimilate(_markov_model(experiment, batch), xx, values)
    return found


def _markov_model(experiment, batch):
    from dapper import mods

    sites, dt, every = experiment.operator.sites, experiment.propagator.dt, experiment.every
    time = mods.Chronology(dt, dko=every, Ko=experiment.cycles - 1, BurnIn=0)
    dynamics = {"M": sites, "model": _step_of(experiment.propagator), "noise": 0}
    start = mods.RV(M=sites, func=lambda members: experiment.ensemble(members)[0])
    return mods.HiddenMarkovModel(dynamics, _observed(experiment, batch), time, start)


def _step_of(propagator):
    module = import_module(f"dapper.mods.{_module_of(propagator.model)}")
    return module.Model(dt=propagator.dt).step if hasattr(module, "Model") else module.step


def _module_of(model):
    return {"Lorenz96": "Lorenz96", "Lorenz63": "Lorenz63", "KuramotoSivashinsky": "KS"}[type(model).__name__]


def _observed(experiment, batch):
    """Some of the sites, in turn if there is more than one set of them."""
    from dapper import mods
    from dapper.tools.localization import nd_Id_localization

    sites, made = experiment.operator.sites, []
    for chosen in experiment.operator.indices[:, :, 0]:
        own = mods.partial_Id_Obs(sites, chosen)
        own["noise"], own["localizer"] = experiment.sigma**2, nd_Id_localization((sites,), (batch,), chosen)
        made.append(own)
    if len(made) == 1:
        return made[0]
    operators = [mods.Operator(**own) for own in made]
    return {"time_dependent": lambda cycle: operators[cycle % len(operators)]}
