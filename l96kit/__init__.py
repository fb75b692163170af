"""Forward, tangent-linear and adjoint kernels for Lorenz-96-class models, and what is done with them.

Arrays are (member, site), C-contiguous, with any leading axes; trajectories are (time, ..., site). All quantities are
dimensionless unless a docstring gives a unit.
"""

from importlib import import_module
from pathlib import Path

_root = Path(__file__).resolve().parent.parent
if (_root / "setup.cfg").exists():  # an uninstalled checkout: kernels/ and its neighbours lie beside this folder
    __path__.append(str(_root))

__version__ = "0.1.0"

_PUBLIC = {
    "Lorenz96": "models",
    "VissioLucarini20": "models",
    "Lorenz63": "models",
    "KuramotoSivashinsky": "models",
    "StencilModel": "models",
    "Network": "networks",
    "Propagator": "propagators",
    "BlowUpError": "propagators",
    "Emulator": "emulators",
    "Training": "training",
    "FourDVar": "variational",
    "dot_test": "checks",
    "taylor_test": "checks",
    "complex_step": "checks",
    "lyapunov_spectrum": "predictability",
    "kaplan_yorke_dimension": "predictability",
    "singular_vectors": "predictability",
    "sensitivity": "predictability",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name):
    """Import a public name when it is first used, so that `import l96kit` costs no compiler and no plotting library."""
    if name in _PUBLIC:
        return getattr(import_module(f"l96kit.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'l96kit' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
