"""What settings are made of is converted and copied: later changes of the caller's arrays change nothing."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from l96kit import Emulator, FourDVar, Lorenz63, Lorenz96, Propagator, StencilModel, VissioLucarini20
from l96kit.baselines import Climatology, CycledFourDVar, OptimalInterpolation, ThreeDVar
from l96kit.ensemble_variational import FourDEnVar
from l96kit.filters import ESRF, ETKF, LETKF, EnKF, EnKFN, IEnKS, ParticleFilter
from l96kit.localization import Localization
from l96kit.networks import sq_net
from l96kit.observation_operators import ObservationOperator, every_site
from l96kit.observations import Observations
from l96kit.twin_experiments import TwinExperiment
from l96kit.validation._entries import decay, decay_ad, decay_tl

SITES = 5
PROPAGATOR = Propagator(Lorenz96(SITES, 8.0), 0.05)
OPERATOR = every_site(SITES)
VALUES = np.zeros((3, SITES))
COV = np.eye(SITES) + 0.5
NUMBERS = np.linspace(1.1, 1.5, SITES)
SIGMA = np.broadcast_to(NUMBERS, VALUES.shape)


DECAY = decay, decay_tl, decay_ad


def decaying(parameters):
    return StencilModel(*DECAY, SITES, parameters=parameters)


# how it is made of an array, and that array
MADE = {
    "Lorenz96.F": (lambda a: Lorenz96(SITES, a), NUMBERS),
    "VissioLucarini20.F": (lambda a: VissioLucarini20(SITES, F=a), NUMBERS),
    "VissioLucarini20.G": (lambda a: VissioLucarini20(SITES, G=a), NUMBERS),
    "VissioLucarini20.alpha": (lambda a: VissioLucarini20(SITES, alpha=a), NUMBERS),
    "VissioLucarini20.gamma": (lambda a: VissioLucarini20(SITES, gamma=a), NUMBERS),
    "Lorenz63.sigma": (lambda a: Lorenz63(sigma=a), NUMBERS[:, None]),
    "Lorenz63.rho": (lambda a: Lorenz63(rho=a), NUMBERS[:, None]),
    "Lorenz63.beta": (lambda a: Lorenz63(beta=a), NUMBERS[:, None]),
    "StencilModel.parameters": (lambda a: decaying({"r": a}), NUMBERS),
    "Emulator.weights": (lambda a: Emulator(sq_net(), a), np.linspace(0, 1, 20)),
    "ETKF.inflation": (lambda a: ETKF(4, a), NUMBERS),
    "EnKF.inflation": (lambda a: EnKF(4, a), NUMBERS),
    "ESRF.inflation": (lambda a: ESRF(4, a), NUMBERS),
    "LETKF.inflation": (lambda a: LETKF(4, a), NUMBERS),
    "IEnKS.inflation": (lambda a: IEnKS(4, a), NUMBERS),
    "EnKFN.strength": (lambda a: EnKFN(4, strength=a), NUMBERS),
    "ParticleFilter.jitter": (lambda a: ParticleFilter(4, jitter=a), NUMBERS),
    "FourDEnVar.inflation": (lambda a: FourDEnVar(4, a), NUMBERS),
    "ThreeDVar.background_cov": (ThreeDVar, COV),
    "OptimalInterpolation.mean": (lambda a: OptimalInterpolation(COV, mean=a), NUMBERS),
    "Climatology.mean": (Climatology, NUMBERS),
    "CycledFourDVar.scale": (lambda a: CycledFourDVar(COV, a), NUMBERS),
    "CycledFourDVar.background_cov": (CycledFourDVar, COV),
    "FourDVar.background_cov": (lambda a: FourDVar(PROPAGATOR, a), COV),
    "FourDVar.model_cov": (lambda a: FourDVar(PROPAGATOR, model_cov=a), NUMBERS),
    "Observations.values": (lambda a: Observations(OPERATOR, a), VALUES),
    "Observations.sigma": (lambda a: Observations(OPERATOR, VALUES, a), SIGMA),
    "Observations.cov": (lambda a: Observations(OPERATOR, VALUES, cov=a), COV),
    "TwinExperiment.cov": (lambda a: TwinExperiment(PROPAGATOR, OPERATOR, cov=a), COV),
    "TwinExperiment.seeds": (lambda a: TwinExperiment(PROPAGATOR, OPERATOR, seeds=a), np.arange(3)),
    "ObservationOperator.indices": (lambda a: ObservationOperator(SITES, a), np.arange(4).reshape(1, 4, 1)),
    "ObservationOperator.weights": (
        lambda a: ObservationOperator(SITES, np.arange(4).reshape(1, 4, 1), a),
        np.ones((1, 4, 1)),
    ),
}


def numbers_of(made, name):
    found = getattr(made, name)
    return np.asarray(found["r"] if isinstance(found, dict) else found)


@pytest.mark.parametrize("setting", MADE)
def test_settings_are_plain_copies(setting):
    (make, array), name = MADE[setting], setting.split(".")[1]
    mine = np.array(array)
    frames = [xr.DataArray(mine)] + ([pd.DataFrame(mine)] if mine.ndim == 2 else [])
    for given in (mine, *frames):
        made = make(given)
        given[...] = 77 if given is mine else 78
        np.testing.assert_array_equal(numbers_of(made, name), array)
        kept = getattr(made, name)
        for part in kept.values() if isinstance(kept, dict) else [kept]:
            assert type(part) is np.ndarray or isinstance(part, tuple)
        mine[...] = array


def test_numbers_become_those_of_python():
    made = {
        Lorenz96(np.int64(SITES), xr.DataArray(8.0)): {"K": int, "F": float},
        StencilModel(*DECAY, np.int64(SITES), np.int8(1), {"r": 1.0}, fields=np.int16(1)): dict.fromkeys(
            ("sites", "reach", "fields"), int
        ),
        Propagator(Lorenz96(SITES), np.float32(0.5), threads=np.int8(2)): {"dt": float, "threads": int},
        ETKF(np.int16(4), np.array(1.5), rotation=np.True_): {"members": int, "inflation": float, "rotation": bool},
        IEnKS(4, lag=np.uint8(2), tolerance=np.array(0.5)): {"lag": int, "iterations": int, "tolerance": float},
        ParticleFilter(4, jitter=np.float16(0.5)): {"jitter": float},
        Localization(xr.DataArray(4.0)): {"radius": float},
        TwinExperiment(PROPAGATOR, OPERATOR, np.array(2), every=np.int8(2)): {"sigma": float, "every": int},
        FourDVar(PROPAGATOR, tolerance=np.array(0.5)): {"tolerance": float, "iterations": int},
        Observations(OPERATOR, VALUES, xr.DataArray(0.5)): {"sigma": float},
    }
    for settings, types in made.items():
        for name, expected in types.items():
            assert type(getattr(settings, name)) is expected, (type(settings).__name__, name)


def test_every_setting_that_may_be_an_array_is_tested():
    """A field annotated so that it may be one."""
    classes = {type(make(np.array(array))) for make, array in MADE.values()}
    of_arrays = {
        f"{kind.__name__}.{field.name}"
        for kind in classes
        for field in dataclasses.fields(kind)
        if field.type in ("Any", "np.ndarray") or field.type in (np.ndarray,) or "Any" in str(field.type)
    }
    elsewhere = {"ObservationOperator.function", "TwinExperiment.sigma", "TwinExperiment.simulator"}
    inherited = {name for name in of_arrays if name.endswith(("inflation", "background_cov"))}
    assert of_arrays - inherited - elsewhere <= set(MADE)
