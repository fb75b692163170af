"""HDF5 files that xarray opens, that are either whole or not there, and that tell when a byte of them has changed.

A file is built in memory and written as plain bytes, to a temporary name first, so that a full disk or a kill meets no
HDF5 library at work. Behind the HDF5 part, where other programs do not look, stands its seal: a line with the SHA-256
of all bytes before it. `load` parses nothing that does not fit its seal, since damaged HDF5 can hang or crash the
library, or pass for other numbers.
"""

import errno
import hashlib
import io
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

import numpy as np

from l96kit import __version__, _arrays

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None

LONGEST_NAME = 240  # bytes; a temporary file beside it has a few more, of the 255 that there may be
LARGEST_ATTRIBUTE = 60_000  # bytes; HDF5 has room for 64 kB with all that belongs to it
OF_SCALES = "CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"  # attributes by which HDF5 names dimensions
SEAL = b"\nl96kit sha256 "


def save(path, variables, attributes=None, coordinates=None):
    """Write arrays to an HDF5 file, by way of a temporary file beside it that takes its name when it is complete.

    Parameters
    ----------
    path : the file; its folder must exist
    variables : dict of name -> (dimensions, array) or (dimensions, array, dict of attributes), as for xarray
    attributes : dict of attributes of the file: numbers, strings, arrays of numbers
    coordinates : dict of dimension -> array or (array, units); other dimensions count from 0

    Raises
    ------
    ValueError, TypeError
        what HDF5 cannot keep as it is, before anything is written
    OSError
        if the disk is full or the folder cannot be written to; then no file is left, and an older one is untouched

    A process that is killed leaves its temporary file, `.name.*.part`, which `sweep` removes.
    """
    import h5py

    path = path_of(path, "path")
    if not isinstance(variables, Mapping):
        raise TypeError(
            f"variables: expected a dict of name -> (dimensions, array), found {type(variables).__name__}; choose what "
            'to keep of it, for example {"x": (("time", "site"), x)}'
        )
    variables = {_checked_name(name): _checked_variable(name, variable) for name, variable in variables.items()}
    lengths = _lengths(variables)
    for name in set(variables) & set(lengths):
        raise ValueError(
            f"{name}: expected a name that is not both a variable's and a dimension's, found it twice; rename it, or "
            "give a dimension's values as `coordinates`"
        )
    coordinates = {
        name: _checked_coordinate(name, values, lengths)
        for name, values in _arrays.mapping({} if coordinates is None else coordinates, "coordinates").items()
    }
    attributes = _checked_attributes(attributes, "attributes")
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file.attrs.update({**attributes, "l96kit_version": __version__})
        for dimension, length in lengths.items():
            values, units = coordinates.get(dimension, (np.arange(length), "1"))
            file[dimension] = values
            file[dimension].make_scale(dimension)
            file[dimension].attrs["units"] = units
        for name, (dimensions, data, about) in variables.items():
            file[name] = data
            for axis, dimension in enumerate(dimensions):
                file[name].dims[axis].attach_scale(file[dimension])
            file[name].attrs.update({"units": "1", **about})
    _write(path, image.getbuffer(), _seal(image.getbuffer()))


def load(path):
    """Read such a file: dict of name -> (dimensions, array), and dict of attributes.

    Raises
    ------
    OSError
        if there is none, or the system does not give it
    ValueError
        if it is not, byte for byte, what `save` wrote; nothing of it is read then
    """
    import h5py

    with h5py.File(io.BytesIO(_read_sealed(path_of(path, "path"))), "r") as file:
        variables = {
            name: (tuple(axis[0].name.strip("/") for axis in data.dims), data[...])
            for name, data in file.items()
            if not data.is_scale
        }
        return variables, dict(file.attrs)


def save_figure(figure, path):
    """Write a matplotlib figure, whole or not at all; the suffix of the path tells the format."""
    from matplotlib.backend_bases import FigureCanvasBase

    path = path_of(path, "path")
    if not hasattr(figure, "savefig"):
        raise TypeError(f"figure: expected one of matplotlib, found {type(figure).__name__}; take that of plt.figure()")
    image, kind = io.BytesIO(), path.suffix[1:].lower()
    if kind not in FigureCanvasBase.filetypes:
        raise ValueError(f"path: expected a suffix such as .png or .pdf, found {path.suffix!r}; choose one")
    figure.savefig(image, dpi=150, format=kind)
    _write(path, image.getbuffer())


# --- what is saved --------------------------------------------------------------------------------------------------


def _checked_variable(name, variable):
    """(dimensions, array, attributes) of a variable, as the user may give it."""
    if not isinstance(variable, tuple) or len(variable) not in (2, 3):
        raise TypeError(
            f"{name}: expected (dimensions, array) or (dimensions, array, attributes), found "
            f"{type(variable).__name__}; name the dimensions of each variable"
        )
    dimensions, data, attributes = (*variable, None)[:3]
    dimensions = (dimensions,) if isinstance(dimensions, str) else dimensions
    if not isinstance(dimensions, (tuple, list)):
        raise TypeError(
            f"{name}: expected a tuple of names of dimensions, found {_arrays.shown(dimensions)}; name each axis"
        )
    dimensions, data = tuple(map(_checked_name, dimensions)), _checked_numbers(name, data)
    if len(dimensions) != data.ndim:
        raise ValueError(
            f"{name}: expected an array with dimensions {dimensions}, found shape {data.shape}; name each axis"
        )
    if len(set(dimensions)) < len(dimensions):
        raise ValueError(f"{name}: expected dimensions that differ, found {dimensions}; name each axis of its own")
    attributes = _checked_attributes(attributes, f"attributes of {name}")
    for reserved in set(OF_SCALES) & set(attributes):
        raise ValueError(
            f"attributes of {name}: expected other names than {', '.join(OF_SCALES)}, by which HDF5 names dimensions, "
            f"found {reserved}; rename it"
        )
    return dimensions, data, attributes


def _checked_name(name):
    """The name of a variable or a dimension."""
    if not isinstance(name, str) or not name or name == "." or "/" in name or not _is_text(name):
        raise ValueError(f"{name}: expected a name without '/' and NUL, found {name!r}; rename it")
    return name


def _is_text(value):
    """Whether HDF5 keeps all of a string: it ends at a NUL, and is UTF-8, which has no halves of characters."""
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value)


def _checked_numbers(name, data):
    data = _arrays.array(data, name)
    if data.dtype.kind not in "fiubS":
        raise TypeError(
            f"{name}: expected an array of numbers, found {_arrays.kind(data)}; turn what you need of it into numbers"
        )
    return data


def _checked_attributes(attributes, what):
    found = {}
    for name, value in _arrays.mapping({} if attributes is None else attributes, what).items():
        if not isinstance(name, str) or not name or not _is_text(name):
            raise TypeError(f"{what}: expected names that are strings without NUL, found {name!r}; rename it")
        found[name] = _checked_attribute(name, value)
    return found


def _checked_attribute(name, value):
    """A number, a string, or an array of numbers, small enough for HDF5 to keep it as an attribute."""
    found = _arrays.array(value, name)
    if found.ndim == 0 and found.dtype.kind == "U":
        if not _is_text(found.item()):
            raise ValueError(f"{name}: expected text without NUL, found {value!r}; leave out what is no character")
        return found.item()
    of_numbers = found.dtype.kind in "biufc" or (found.dtype.kind == "S" and found.ndim)
    if not of_numbers or found.nbytes + len(name.encode()) > LARGEST_ATTRIBUTE:
        raise TypeError(
            f"{name}: expected a number, a string or a small array of numbers, found {type(value).__name__}; keep it "
            "as a variable or as text"
        )
    return found


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


def _checked_coordinate(dimension, values, lengths):
    """(array, units) of a dimension."""
    if dimension not in lengths:
        raise ValueError(
            f"coordinates: expected names among {', '.join(map(repr, lengths))}, found {dimension!r}; it is "
            "not a dimension of any variable"
        )
    values, units = values if isinstance(values, tuple) and len(values) == 2 else (values, "1")
    values = _checked_numbers(f"coordinates of {dimension}", values)
    if values.shape != (lengths[dimension],):
        raise ValueError(
            f"coordinates: expected shape ({lengths[dimension]},) for {dimension!r}, found {values.shape}; give one "
            "value for each index"
        )
    return values, _checked_attribute("units", units)


# --- the seal -------------------------------------------------------------------------------------------------------


def _seal(image):
    return SEAL + hashlib.sha256(image).hexdigest().encode() + b"\n"


SEAL_LENGTH = len(_seal(b""))


def _read_sealed(path):
    """All bytes of a file, if they are those that were written."""
    try:
        with _open_to_read(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - SEAL_LENGTH))
            seal = file.read()
            is_sealed = seal.startswith(SEAL)  # of another file, no more is read: it may be large
            file.seek(0)
            content = file.read() if is_sealed else b""
    except OSError as problem:
        raise _in_our_words(problem, f"{path}: expected a file") from problem
    if not is_sealed:
        raise ValueError(
            f"{path}: expected a whole HDF5 file that l96kit wrote, found no seal at its end; it was cut short or "
            "changed, or another program wrote it: take a copy that is whole, or see with h5py what it holds"
        )
    if seal != _seal(memoryview(content)[:-SEAL_LENGTH]):
        raise ValueError(
            f"{path}: expected a whole HDF5 file that l96kit wrote, found bytes that do not fit its seal; it is "
            "damaged or was changed: take a copy that is whole"
        )
    return content


# --- whole files ----------------------------------------------------------------------------------------------------


def path_of(path, name) -> Path:
    """The path of a file that may be written."""
    path = _path(path, name)
    if not path.name:
        raise ValueError(f"{name}: expected the path of a file, found {str(path)!r}; add its name")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise ValueError(
            f"{name}: expected a file name of at most {LONGEST_NAME} bytes, found {len(os.fsencode(path.name))}; "
            "shorten it"
        )
    return path


def _path(path, name):
    try:
        path = Path(path)
    except TypeError:
        remedy = "pass a string or a pathlib.Path"
        raise TypeError(f"{name}: expected a path, found {_arrays.shown(path)}; {remedy}") from None
    try:
        fits = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: expected a path that the system can hold, found {str(path)!r}; mend its letters")
    return path


def writable_folder(path, name="out", make=True) -> Path:
    """The folder, made if need be and if wanted; refused at once if nothing can be written there.

    Raises
    ------
    OSError
        with what was expected, what was found, and the remedy
    """
    path = _path(path, _arrays.text(name, "name", "it begins the messages"))
    make = _arrays.flag(make, "make", "False leaves it to the caller")
    try:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as problem:
        raise _in_our_words(problem, f"{name}: expected a folder that can be written to", f" at {path}") from problem
    return path


def sweep(path):
    """Remove what writers of a file left beside it when they were killed; what one is writing stays."""
    path = path_of(path, "path")
    for left in path.parent.glob(f".{escape(path.name)}.*.part"):
        if left.name.count(".") == path.name.count(".") + 3:  # not of a longer name that begins like this one
            with suppress(OSError), open(left, "rb+") as file:  # it may be held, not ours, or gone
                if _hold(file, alone=True):
                    left.unlink()


def _write(path, *parts):
    """Write bytes to a temporary file, which then takes the name of `path`; no trace is left if that fails."""
    try:
        with _held_file_beside(path) as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames no open file
            os.replace(file.name, path)
    except OSError as problem:
        raise _in_our_words(problem, f"{path}: expected a place for a whole file") from problem


@contextmanager
def _held_file_beside(path):
    """A new temporary file, which `sweep` takes for that of a live writer; it vanishes if anything is raised.

    It has the permissions that the user's new files have, since `open` made it.
    """
    while True:
        with open(path.with_name(f".{path.name}.{secrets.token_hex(4)}.part"), "xb") as file:
            _hold(file, wait=True)
            if os.fstat(file.fileno()).st_nlink == 0:  # swept before it was held
                continue
            try:
                yield file
            except BaseException:
                with suppress(OSError):
                    os.unlink(file.name)
                raise
            return


@contextmanager
def _open_to_read(path):
    """An ordinary file that no program holds in order to change it."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):  # a pipe or a device might never end
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.ENODEV, "not an ordinary file")
    with open(path, "rb") as file:
        _hold(file)
        yield file


def _hold(file, alone=False, wait=False):
    """Whether an open file is held from now on, alone or beside others; a system that knows no locks cannot.

    It is the way of HDF5, which is alone with a file that it may change, and beside others with one that it reads.

    Raises
    ------
    BlockingIOError
        if another holds it, and there is no waiting
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:  # not every file system can
        return False
    return True


_OF_ERRNO = {  # what was found, and the remedy
    errno.ENOENT: ("none of that name", "mend the path"),
    errno.ENOTDIR: ("a file where the path has a folder", "mend the path"),
    errno.EISDIR: ("a folder", "mend the path"),
    errno.EEXIST: ("a file of that name", "choose another one"),
    errno.ENODEV: ("a pipe or a device", "mend the path"),
    errno.ENAMETOOLONG: ("that the path is too long", "shorten it"),
    errno.ELOOP: ("links that lead in a circle", "mend the path"),
    errno.EACCES: ("that permission is denied", "ask for it, or choose another path"),
    errno.EPERM: ("that permission is denied", "ask for it, or choose another path"),
    errno.EROFS: ("that the disk is read-only", "choose another one"),
    errno.ENOSPC: ("that the disk is full", "free some space"),
    errno.EDQUOT: ("that the disk quota is used up", "free some space"),
    errno.EFBIG: ("that the system allows no file of this size", "raise the limit (ulimit -f) or choose another disk"),
    errno.EMFILE: ("too many files open", "close some"),
    errno.ENFILE: ("too many files open", "close some"),
    errno.EAGAIN: ("that another program holds it", "try again when that is done"),
    errno.EBUSY: ("that another program holds it", "try again when that is done"),
    errno.EIO: ("that the disk fails", "try again, and see to the disk"),
    errno.ESTALE: ("that the file server has lost sight of it", "try again"),
}


def _in_our_words(problem, expected, where=""):
    """An OSError of the same class and number that says what it means here."""
    found, remedy = _OF_ERRNO.get(problem.errno, (f"that {problem.strerror or problem}", "try again, or elsewhere"))
    error = type(problem)(f"{expected}, found {found}{where}; {remedy}")
    error.errno = problem.errno
    return error
