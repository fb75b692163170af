"""The public functions, classes and methods of l96kit, and which of them need no fuzzing.

A name is module.function or module.Class.method. What has no entry in `_entries` is named in `WITHOUT_ENTRY`, with the
reason; `missing` lists what has neither.
"""

import importlib
import inspect
import pkgutil

import l96kit

COMMANDS = {"cli", "demo", "demo_emulator", "demo_filters"}  # which argparse guards
WITHOUT_ENTRY = {
    "results, which only our functions make": {
        "baselines.Baseline",
        "checks.ModelCheck",
        "filters.Assimilation",
        "networks.Layer",
        "predictability.LyapunovSpectrum",
        "propagators.BlowUpError",
        "training.Trained",
        "twin.Twin",
        "variational.Analysis",
    },
    "what classes share": {"models.Model", "filters.EnsembleFilter"},
    "in the form of kernels, for other modules": {
        "checkpoints.reverse_in_segments",
        "ensemble_variational.increments",
        "ensemble_variational.innovation_of",
        "ensemble_variational.record",
        "ensemble_variational.whitened",
        "models.KuramotoSivashinsky.kernel_parameters",
        "models.KuramotoSivashinsky.parameter_pair",
        "models.Model.kernel_parameters",
        "models.Model.parameter_gradients",
        "models.Model.parameter_pair",
        "networks.Network.shapes",
        "observation_operators.observed_model",
        "observations.Observations.weighted",
        "observations.Observations.weighted_ad",
        "observations.Observations.weighted_tl",
    },
    "checks themselves": {
        "filters.independent",
        "localization.checked_localization",
        "localization.places_of",
        "networks.checked_base",
        "networks.checked_network",
        "observation_operators.checked_operator",
        "observations.Observations.check_sites",
        "observations.checked_observations",
        "observations.error_of",
        "propagators.checked_propagator",
        "store.path_of",
        "store.sweep",
    },
    "without arguments": {
        "networks.bilin_net",
        "networks.deep_net",
        "networks.sq_net",
    },
}


def public_names():
    """All functions, classes and methods of l96kit whose names do not begin with an underscore."""
    found = set()
    for module in pkgutil.iter_modules(l96kit.__path__[:1]):
        if module.name.startswith("_") or module.name in COMMANDS:
            continue
        for name, value in vars(importlib.import_module(f"l96kit.{module.name}")).items():
            if name.startswith("_") or getattr(value, "__module__", "") != f"l96kit.{module.name}":
                continue
            if inspect.isfunction(value) or inspect.isclass(value):
                found.add(f"{module.name}.{name}")
            if inspect.isclass(value):
                own = {of for of, f in vars(value).items() if inspect.isfunction(f)}
                found |= {f"{module.name}.{name}.{of}" for of in own if not of.startswith("_") or of == "__getitem__"}
    return found


def missing(entries):
    """Public names without an entry, and names that are no longer public."""
    named = {*entries, *set().union(*WITHOUT_ENTRY.values())}
    return sorted(public_names() - named), sorted(named - public_names())
