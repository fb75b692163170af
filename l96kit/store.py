"""HDF5 files that xarray opens, and that are either whole or not there."""

import errno
import os
import tempfile
from contextlib import contextmanager
from glob import escape
from pathlib import Path

import numpy as np

from l96kit import __version__, _arrays

LONGEST_NAME = 240  # bytes; a temporary file beside it has a few more, of the 255 that there may be


def path_of(path, name) -> Path:
    try:
        path = Path(path)
    except TypeError:
        raise TypeError(f"{name}: expected a path, found {path!r}; pass a string or a pathlib.Path") from None
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise ValueError(
            f"{name}: expected a file name of at most {LONGEST_NAME} bytes, found {len(os.fsencode(path.name))}; "
            "shorten it"
        )
    return path


def writable_folder(path, name="out", make=True) -> Path:
    """The folder, made if need be and if wanted; refused at once if nothing can be written there.

    Raises
    ------
    OSError
        with what was expected, what was found, and the remedy
    """
    path = Path(path)
    try:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as problem:
        raise OSError(
            f"{name}: expected a folder that can be written to, found {path} ({problem.strerror}); choose another one"
        ) from None
    return path


def save(path, variables, attributes=None, coordinates=None):
    """Write arrays to an HDF5 file, by way of a temporary file beside it that takes its name when it is complete.

    Parameters
    ----------
    path : the file; its folder must exist
    variables : dict of name -> (dimensions, array) or (dimensions, array, dict of attributes), as for xarray
    attributes : dict of attributes of the file: numbers, strings, arrays
    coordinates : dict of dimension -> array or (array, units); other dimensions count from 0

    Raises
    ------
    OSError
        if the disk is full or the folder cannot be written to; then no file is left, and an older one is untouched

    A process that is killed leaves its temporary file, `.name.*.part`, which may be removed.
    """
    import h5py

    path, coordinates = Path(path), coordinates or {}
    variables = {name: _checked_variable(name, variable) for name, variable in variables.items()}
    lengths = _lengths(variables)
    for name in (*variables, *lengths):
        if (
            not isinstance(name, str)
            or not name
            or "/" in name
            or name == "."
            or (name in variables and name in lengths)
        ):
            raise ValueError(
                f"{name}: expected a name without '/' that is not both a variable's and a dimension's, found {name!r}; "
                "rename it, or give a dimension's values as `coordinates`"
            )
    for dimension, values in coordinates.items():
        if dimension not in lengths:
            raise ValueError(
                f"coordinates: expected names among {', '.join(map(repr, lengths))}, found {dimension!r}; it is "
                "not a dimension of any variable"
            )
        shape = np.shape(values[0] if isinstance(values, tuple) else values)
        if shape != (lengths[dimension],):
            raise ValueError(
                f"coordinates: expected shape ({lengths[dimension]},) for {dimension!r}, found {shape}; give one value "
                "for each index"
            )
    attributes = {name: _checked_attribute(name, value) for name, value in (attributes or {}).items()}
    with _whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({**attributes, "l96kit_version": __version__})
        for dimension, length in lengths.items():
            values = coordinates.get(dimension, np.arange(length))
            values, units = values if isinstance(values, tuple) else (values, "1")
            file[dimension] = np.asarray(values)
            file[dimension].make_scale(dimension)
            file[dimension].attrs["units"] = units
        for name, (dimensions, data, about) in variables.items():
            file[name] = data
            for axis, dimension in enumerate(dimensions):
                file[name].dims[axis].attach_scale(file[dimension])
            file[name].attrs.update({"units": "1", **about})


def _checked_attribute(name, value):
    """A number, a string, or an array of either, small enough for HDF5 to keep it as an attribute."""
    if not isinstance(name, str) or not name:
        raise TypeError(f"attributes: expected names that are strings, found {name!r}; rename it")
    found = np.asarray(value) if not isinstance(value, dict) else np.asarray(None)
    if found.dtype.kind not in "biufcSU" or (found.ndim and (found.dtype.kind == "U" or found.nbytes > 60_000)):
        raise TypeError(
            f"{name}: expected a number, a string or a small array of numbers, found {type(value).__name__}; keep it "
            "as a variable or as text"
        )
    return value


def _checked_variable(name, variable):
    """(dimensions, array, attributes) of a variable, as the user may give it."""
    if not isinstance(variable, tuple) or len(variable) not in (2, 3):
        raise TypeError(
            f"{name}: expected (dimensions, array) or (dimensions, array, attributes), found "
            f"{type(variable).__name__}; name the dimensions of each variable"
        )
    dimensions, data, attributes = (*variable, {})[:3]
    dimensions = (dimensions,) if isinstance(dimensions, str) else tuple(dimensions)
    data = _arrays.array(data, name)
    if len(dimensions) != data.ndim:
        raise ValueError(
            f"{name}: expected an array with dimensions {dimensions}, found shape {data.shape}; name each axis"
        )
    if len(set(dimensions)) < len(dimensions):
        raise ValueError(f"{name}: expected dimensions that differ, found {dimensions}; name each axis of its own")
    if data.dtype.kind not in "fiubS":
        raise TypeError(f"{name}: expected an array of numbers, found {data.dtype}; convert it")
    return dimensions, data, attributes


def _lengths(variables):
    """How long each dimension is: dict of name -> length."""
    lengths = {}
    for name, (dimensions, data, _) in variables.items():
        for dimension, length in zip(dimensions, data.shape):
            if lengths.setdefault(dimension, length) != length:
                raise ValueError(
                    f"{name}: expected length {lengths[dimension]} of dimension {dimension!r}, found {length}; "
                    "give it a name of its own"
                )
    return lengths


def save_figure(figure, path):
    """Write a matplotlib figure in the same way; the suffix of the path tells the format."""
    path = Path(path)
    with _whole_file(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix[1:])


@contextmanager
def _whole_file(path):
    """The name of a temporary file that becomes `path` when all was written, and vanishes otherwise."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        os.chmod(temporary, 0o666 & ~_umask())
        yield temporary
        with open(temporary, "rb+") as whole:
            os.fsync(whole.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as problem:  # h5py has both
        full = problem.errno == errno.ENOSPC or "No space left" in str(problem)
        what = f"{getattr(problem, 'strerror', None) or problem} ({path.parent})"
        reason = "the disk is full; free some space" if full else f"{what}; choose another folder"
        raise OSError(f"{path}: expected to write a whole file, found that {reason}") from problem
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def sweep(path):
    """Remove what writers of a file left beside it when they were killed."""
    for left in path.parent.glob(f".{escape(path.name)}.*.part"):
        if left.name.count(".") == path.name.count(".") + 3:  # not of a longer name that begins like this one
            left.unlink(missing_ok=True)


def _umask():
    """The permissions that new files do not get; the system tells them only when they are set."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load(path):
    """Read such a file: dict of name -> (dimensions, array), and dict of attributes.

    Raises
    ------
    FileNotFoundError, ValueError
        no such file; one that is not HDF5, not whole, or not of the form that `save` gives it
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "none"
        raise FileNotFoundError(f"{path}: expected a file, found {found}; mend the path")
    try:
        with h5py.File(path, "r") as file:
            variables = {
                name: (tuple(axis[0].name.strip("/") for axis in data.dims), data[...])
                for name, data in file.items()
                if not data.is_scale
            }
            return variables, dict(file.attrs)
    except (AttributeError, LookupError, RuntimeError) as problem:
        raise ValueError(
            f"{path}: expected arrays with named dimensions, as l96kit writes them, found others ({problem}); read it "
            "with h5py"
        ) from None
    except OSError as problem:
        raise ValueError(
            f"{path}: expected a whole HDF5 file, found that {problem}; remove it or write it anew"
        ) from problem
