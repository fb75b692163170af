"""Files are whole or not there, tell when they were changed, and other programs can read them."""

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from l96kit import store

VARIABLES = {"x": (("time", "site"), np.arange(6.0).reshape(2, 3), {"units": "K"}), "n": (("time",), np.array([1, 2]))}


def test_what_is_saved_is_read(tmp_path):
    store.save(tmp_path / "a.h5", VARIABLES, {"seed": 3}, {"time": (np.array([0.0, 0.5]), "time units")})
    variables, attributes = store.load(tmp_path / "a.h5")
    assert variables["x"][0] == ("time", "site") and variables["n"][0] == ("time",)
    np.testing.assert_array_equal(variables["x"][1], VARIABLES["x"][1])
    assert attributes["seed"] == 3 and "l96kit_version" in attributes


def test_xarray_opens_it(tmp_path):
    xarray = pytest.importorskip("xarray")
    store.save(tmp_path / "a.h5", VARIABLES, {"seed": 3}, {"time": (np.array([0.0, 0.5]), "time units")})
    with xarray.open_dataset(tmp_path / "a.h5") as data:
        assert data["x"].dims == ("time", "site") and data["x"].attrs["units"] == "K"
        np.testing.assert_array_equal(data["time"], [0.0, 0.5])
        assert data.attrs["seed"] == 3


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_a_coordinate_of_two_values_is_no_pair_of_values_and_units(kind, tmp_path):
    """But in a tuple, which says both."""
    given = (kind([3.0, 4.0]), "m") if kind is tuple else kind([3.0, 4.0])
    store.save(tmp_path / "a.h5", {"x": (("station",), np.zeros(2))}, {}, {"station": given})
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["station"], [3, 4])
        assert file["station"].attrs["units"] == ("m" if kind is tuple else "1")


def test_attributes_keep_their_values_and_kinds(tmp_path):
    whole = {"text": "naïve\n", "of NumPy": np.str_("abc"), "0-d": np.array("abc"), "no": "", "long": "x" * 100_000}
    numbers = {
        "n": 3,
        "x": 0.5,
        "yes": True,
        "list": [1, 2],
        "none": [],
        "m/s": np.float32(2),
        "bytes": np.array([b"a"]),
    }
    store.save(tmp_path / "a.h5", {"x": ("t", np.zeros(2), {"units": np.str_("K")})}, {**whole, **numbers})
    found = store.load(tmp_path / "a.h5")[1]
    assert found.keys() == {*whole, *numbers, "l96kit_version"}
    for name, value in whole.items():
        assert found[name] == str(value) and type(found[name]) is str
    for name, value in numbers.items():
        assert np.asarray(found[name]).dtype == np.asarray(value).dtype
        np.testing.assert_array_equal(found[name], value)


# --- damaged files --------------------------------------------------------------------------------------------------


@pytest.fixture
def whole(tmp_path):
    store.save(tmp_path / "a.h5", VARIABLES, {"seed": 3, "note": "whole"})
    return tmp_path / "a.h5"


def flipped(whole, rng):
    found = bytearray(whole)
    for place in rng.integers(len(whole), size=rng.integers(1, 9)):
        found[place] ^= 1 << rng.integers(8)
    return bytes(found)


def zeroed(whole, rng):
    begin, end = sorted(rng.integers(len(whole) + 1, size=2))
    return whole[:begin] + bytes(end - begin) + whole[end:]


DAMAGES = {
    "flipped bits": flipped,
    "zeroed bytes": zeroed,
    "zeroed end": lambda whole, rng: whole[: (cut := rng.integers(len(whole) - 1))] + bytes(len(whole) - cut),
    "cut short": lambda whole, rng: whole[: rng.integers(len(whole))],
    "made longer": lambda whole, rng: whole + bytes(rng.integers(1, 200)),
    "two in one": lambda whole, rng: whole[: rng.integers(1, len(whole))] + whole,
    "other bytes": lambda whole, rng: rng.bytes(len(whole)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_before_hdf5_reads_it(whole, damage, monkeypatch):
    """Which would take damaged numbers, sizes and links for what they say: it returned others, hung, or crashed."""
    monkeypatch.setattr(h5py, "File", None)
    before, rng = whole.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        after = DAMAGES[damage](before, rng)
        whole.write_bytes(after)
        if after != before:
            with pytest.raises(ValueError, match=r"a\.h5: expected a whole HDF5 file that l96kit wrote, found .*; it "):
                store.load(whole)


def test_the_seal_is_the_sha256_of_all_before_it(whole):
    *lines, seal, end = whole.read_bytes().split(b"\n")
    digest = hashlib.sha256(b"\n".join(lines)).hexdigest()
    assert (seal, end) == (f"l96kit sha256 {digest}".encode(), b"")


def test_a_file_that_another_program_changed_or_wrote_is_refused(whole, tmp_path):
    with h5py.File(whole, "r+") as file:
        file["x"][0, 0] = 7.0
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1.0
    for path in (whole, tmp_path / "foreign.h5"):
        with pytest.raises(ValueError, match="expected a whole HDF5 file that l96kit wrote"):
            store.load(path)


def test_of_a_large_file_of_another_program_little_is_read(tmp_path):
    with open(tmp_path / "a.h5", "wb") as file:
        file.truncate(2**42)
    with pytest.raises(ValueError, match="found no seal at its end"):
        store.load(tmp_path / "a.h5")


# --- what the system refuses ----------------------------------------------------------------------------------------


def fails_with(number):
    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    return fail


def test_what_the_system_refuses_is_named_by_its_number(whole, monkeypatch):
    """Whatever it is, the file may be whole: nothing is told that would lose it."""
    before = whole.read_bytes()

    def told(call):
        with pytest.raises(OSError, match="expected .*, found .*; ") as caught:
            call()
        assert (caught.value.errno, type(caught.value)) == (number, type(OSError(number, "")))
        assert not {"remove", "delete", "anew", "overwrite"} & set(str(caught.value).split())

    for number in errno.errorcode:
        with monkeypatch.context() as patch:
            patch.setattr(type(whole), "stat", fails_with(number))
            told(lambda: store.load(whole))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fails_with(number))
            told(lambda: store.save(whole, {"x": ("time", np.zeros(1000))}))
        assert whole.read_bytes() == before and list(whole.parent.iterdir()) == [whole]


def test_a_file_that_a_program_may_be_changing_is_refused_for_the_time(whole):
    with h5py.File(whole, "r"):
        store.load(whole)
    before = whole.read_bytes()
    with (
        h5py.File(whole, "r+"),
        pytest.raises(BlockingIOError, match="found that another program holds it; try again when that is done"),
    ):
        store.load(whole)
    whole.write_bytes(before)
    store.load(whole)


@pytest.mark.parametrize(
    "fcntl", [None, SimpleNamespace(LOCK_SH=1, LOCK_EX=2, LOCK_NB=4, flock=fails_with(errno.ENOTSUP))]
)
def test_a_system_without_locks_will_do(whole, fcntl, monkeypatch):
    (left := whole.with_name(".a.h5.0.part")).touch()
    monkeypatch.setattr(store, "fcntl", fcntl)
    store.save(whole, VARIABLES)
    np.testing.assert_array_equal(store.load(whole)[0]["n"][1], [1, 2])
    store.sweep(whole)
    assert left.exists()


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").write_text("")
    for path, found in (
        (tmp_path, "a folder; mend the path"),
        (tmp_path / "pipe", "a pipe or a device; mend the path"),
        (tmp_path / "none", "none of that name; mend the path"),
        (tmp_path / "circle", "links that lead in a circle; mend"),
        (tmp_path / "file" / "a", "a file where the path has a folder; mend"),
    ):
        with pytest.raises(OSError, match=f"expected a file, found {found}"):
            store.load(path)
    for path, error, message in (
        ("a\0b", ValueError, "path: expected a path that the system can hold"),
        ("\ud800", ValueError, "path: expected a path that the system can hold"),
        ("", ValueError, "path: expected the path of a file, found '.'"),
        (3, TypeError, "path: expected a path, found 3"),
    ):
        for call in (store.load, store.sweep, lambda path: store.save(path, VARIABLES)):
            with pytest.raises(error, match=message):
                call(path)


LITTLE_ROOM = """
import resource, sys
import numpy as np
from l96kit import store
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    store.save(sys.argv[1], {f"x{i}": (("time",), np.zeros(10)) for i in range(200)})
except OSError as problem:
    print(problem)
"""


def test_no_more_room_while_many_small_arrays_are_saved(whole):
    """In a process of its own, which HDF5 used to end when it exited."""
    before = whole.read_bytes()
    found = subprocess.run([sys.executable, "-c", LITTLE_ROOM, str(whole)], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    assert "found that the system allows no file of this size; raise the limit" in found.stdout
    assert whole.read_bytes() == before and list(whole.parent.iterdir()) == [whole]


def test_no_more_room_for_a_figure(tmp_path):
    class Figure:
        def savefig(self, file, **options):
            file.write(bytes(100_000))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match="expected a place for a whole file, found that the system allows no file"):
            store.save_figure(Figure(), tmp_path / "a.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing(whole, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    before = whole.read_bytes()
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.save(whole, VARIABLES)
    assert whole.read_bytes() == before and list(whole.parent.iterdir()) == [whole]


KILLED = """
import os, signal, sys
from l96kit import store
os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
store.save(sys.argv[1], {"x": ((), 1.0)})
"""


def test_a_sweep_takes_what_the_dead_left_and_nothing_of_the_living(tmp_path, monkeypatch):
    path, other = tmp_path / "a.h5", tmp_path / "a.h5.b.h5"
    for killed in (path, other):
        assert subprocess.run([sys.executable, "-c", KILLED, str(killed)]).returncode == -signal.SIGKILL
    (of_a, of_other) = sorted(tmp_path.iterdir(), key=lambda left: len(left.name))
    begun, may_end, fsync = threading.Event(), threading.Event(), os.fsync

    def slow(number):
        begun.set()
        may_end.wait(60)
        fsync(number)

    monkeypatch.setattr(os, "fsync", slow)
    writer = threading.Thread(target=store.save, args=(path, VARIABLES))
    writer.start()
    try:
        assert begun.wait(60) and len(list(tmp_path.iterdir())) == 3
        store.sweep(path)
        assert not of_a.exists() and of_other.exists() and len(list(tmp_path.iterdir())) == 2
    finally:
        may_end.set()
        writer.join()
    np.testing.assert_array_equal(store.load(path)[0]["n"][1], [1, 2])


def test_a_file_swept_before_it_was_held_is_begun_again(tmp_path, monkeypatch):
    hold, swept = store.fcntl.flock, []

    def late(file, how):
        if how == store.fcntl.LOCK_SH and not swept:
            swept.append(file.name)
            os.unlink(file.name)
        hold(file, how)

    monkeypatch.setattr(store.fcntl, "flock", late)
    store.save(tmp_path / "a.h5", VARIABLES)
    np.testing.assert_array_equal(store.load(tmp_path / "a.h5")[0]["n"][1], [1, 2])
    assert swept and list(tmp_path.iterdir()) == [tmp_path / "a.h5"]


# --- what cannot be saved -------------------------------------------------------------------------------------------


def test_axes_must_have_names_and_agree(tmp_path):
    with pytest.raises(ValueError, match=r"x: expected an array with dimensions \('time',\), found shape \(2, 3\)"):
        store.save(tmp_path / "a.h5", {"x": (("time",), np.zeros((2, 3)))})
    with pytest.raises(ValueError, match="y: expected length 2 of dimension 'time', found 3"):
        store.save(tmp_path / "a.h5", {"x": (("time",), np.zeros(2)), "y": (("time",), np.zeros(3))})
    assert list(tmp_path.iterdir()) == []


X = {"x": ("time", np.zeros(2))}
MASKED = np.ma.masked_less([0.0, 1.0], 0.5)
Pair = namedtuple("Pair", "state cost")
BAD = {
    "no dimensions": ({"x": np.zeros(2)}, {}, {}, TypeError, r"x: expected \(dimensions, array\)"),
    "twice": ({"time": (("time",), np.zeros(2))}, {}, {}, ValueError, "time: expected a name .* both a variable's and"),
    "slash": ({"x": (("t/s",), np.zeros(2))}, {}, {}, ValueError, "t/s: expected a name without '/'"),
    "one dimension": ({"x": (("t", "t"), np.eye(2))}, {}, {}, ValueError, "x: expected dimensions that differ"),
    "group": ({"a/b": (("time",), np.zeros(2))}, {}, {}, ValueError, "a/b: expected a name without '/'"),
    "NUL": (
        {"a\0b": (("time",), np.zeros(2))},
        {},
        {},
        ValueError,
        "expected a name without '/' and NUL, found 'a.x00b",
    ),
    "NUL in dimension": ({"x": (("t\0",), np.zeros(2))}, {}, {}, ValueError, "expected a name without '/' and NUL"),
    "half a letter": ({"\ud800": (("time",), np.zeros(2))}, {}, {}, ValueError, "expected a name without"),
    "number": ({3: (("time",), np.zeros(2))}, {}, {}, ValueError, "3: expected a name without"),
    "dimension": ({"x": (3, np.zeros(2))}, {}, {}, TypeError, "x: expected a tuple of names of dimensions, found 3"),
    "objects": (
        {"x": ("t", np.array(["a", None]))},
        {},
        {},
        TypeError,
        "x: expected an array of numbers, found object",
    ),
    "complex": (
        {"x": ("t", np.zeros(2, complex))},
        {},
        {},
        TypeError,
        "x: expected an array of numbers, found complex",
    ),
    "masked": ({"x": ("t", MASKED)}, {}, {}, ValueError, "x: expected a number everywhere, found masked ones"),
    "ragged": ({"x": ("t", [[1], [1, 2]])}, {}, {}, ValueError, "x: expected an array, found something of no regular"),
    "coordinate": (X, {}, {"tim": np.zeros(2)}, ValueError, "coordinates: expected names among 'time'"),
    "length": (X, {}, {"time": np.zeros(3)}, ValueError, r"expected shape \(2,\) for 'time', found"),
    "masked coordinate": (X, {}, {"time": MASKED}, ValueError, "coordinates of time: expected a number everywhere"),
    "dates": (X, {}, {"time": np.zeros(2, "M8[s]")}, TypeError, "coordinates of time: expected an array of numbers"),
    "units": (X, {}, {"time": (np.zeros(2), None)}, TypeError, "units: expected a number, a string"),
    "attribute": (X, {"a\0b": 1}, {}, TypeError, "attributes: expected names that are strings without NUL"),
    "no name": (X, {"": 1}, {}, TypeError, "attributes: expected names that are strings"),
    "text": (X, {"a": "b\0c"}, {}, ValueError, "a: expected text without NUL, found 'b"),
    "half a letter of text": (X, {"a": "\udcff"}, {}, ValueError, "a: expected text without NUL, found '.udcff"),
    "bytes": (X, {"a": b"b"}, {}, TypeError, "a: expected a number, a string or a small array of numbers, found bytes"),
    "texts": (X, {"a": ["b", "c"]}, {}, TypeError, "a: expected a number, a string or a small array of numbers"),
    "whole number": (X, {"a": 2**70}, {}, TypeError, "a: expected a number, a string or a small array"),
    "large": (X, {"a": np.zeros(8000)}, {}, TypeError, "a: expected a number, a string or a small array"),
    "large name": (X, {"a" * 70_000: 1}, {}, TypeError, "expected a number, a string or a small array"),
    "masked attribute": (X, {"a": MASKED}, {}, ValueError, "a: expected a number everywhere, found masked ones"),
    "masked number": (X, {"a": np.ma.masked}, {}, ValueError, "a: expected a number everywhere, found masked ones"),
    "of a variable": ({"x": ("t", np.zeros(2), {"a": None})}, {}, {}, TypeError, "a: expected a number, a string"),
    "of HDF5": ({"x": ("t", np.zeros(2), {"CLASS": "a"})}, {}, {}, ValueError, "attributes of x: expected other names"),
    "no dict": (X, [1], {}, TypeError, "attributes: expected a dict"),
    "an array for a dict": (X, np.zeros(2), {}, TypeError, "attributes: expected a dict"),
    "a result": (
        SimpleNamespace(rmse=np.zeros(2)),
        {},
        {},
        TypeError,
        "variables: .* found SimpleNamespace; choose what",
    ),
    "a tuple": (Pair(np.zeros(2), 1.0), {}, {}, TypeError, "variables: expected a dict of name -> .* found Pair"),
    "an array": (np.zeros(2), {}, {}, TypeError, "variables: expected a dict of name -> .* found ndarray"),
    "nothing": (None, {}, {}, TypeError, "variables: expected a dict of name -> .* found NoneType"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_saved_is_refused(tmp_path, kind):
    variables, attributes, coordinates, error, message = BAD[kind]
    with pytest.raises(error, match=message):
        store.save(tmp_path / "a.h5", variables, attributes, coordinates)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="out: expected a folder that can be written to"):
        store.writable_folder(tmp_path / "file")


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_files_have_ordinary_permissions(tmp_path, mask, monkeypatch):
    """And the process keeps its own: with a mask of none for a moment, other threads' files were everybody's."""
    before = os.umask(mask)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", None)
            store.save(tmp_path / "a.h5", VARIABLES)
        (tmp_path / "b").write_text("")
    finally:
        os.umask(before)
    assert (tmp_path / "a.h5").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_name_is_as_long_as_its_bytes(tmp_path):
    with pytest.raises(ValueError, match="path: expected a file name of at most 240 bytes, found 403; shorten it"):
        store.save(tmp_path / f"{200 * 'é'}.h5", VARIABLES)
    assert not list(tmp_path.iterdir())
