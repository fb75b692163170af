"""Files are whole or not there, and other programs can read them."""

import errno
import os

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
    with xarray.open_dataset(tmp_path / "a.h5", engine="h5netcdf") as data:
        assert data["x"].dims == ("time", "site") and data["x"].attrs["units"] == "K"
        np.testing.assert_array_equal(data["time"], [0.0, 0.5])
        assert data.attrs["seed"] == 3


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    store.save(path, VARIABLES)
    before = path.read_bytes()

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="the disk is full"):
        store.save(path, {"x": (("time",), np.zeros(1000))})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_really_full_disk(tmp_path):
    """/dev/full refuses every byte, as a full disk does."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")

    class Figure:
        def savefig(self, temporary, **options):
            os.unlink(temporary)
            os.symlink("/dev/full", temporary)
            with open(temporary, "wb") as file:
                file.write(b"x" * 100_000)

    with pytest.raises(OSError, match="the disk is full; free some space"):
        store.save_figure(Figure(), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing(tmp_path):
    class Figure:
        def savefig(self, temporary, **options):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.save_figure(Figure(), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_axes_must_have_names_and_agree(tmp_path):
    with pytest.raises(ValueError, match=r"x: expected an array with dimensions \('time',\), found shape \(2, 3\)"):
        store.save(tmp_path / "a.h5", {"x": (("time",), np.zeros((2, 3)))})
    with pytest.raises(ValueError, match="y: expected length 2 of dimension 'time', found 3"):
        store.save(tmp_path / "a.h5", {"x": (("time",), np.zeros(2)), "y": (("time",), np.zeros(3))})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "variables, coordinates, error, message",
    [
        ({"x": np.zeros(2)}, {}, TypeError, r"x: expected \(dimensions, array\)"),
        ({"time": (("time",), np.zeros(2))}, {}, ValueError, "time: expected a name .* both a variable's and"),
        ({"x": (("t/s",), np.zeros(2))}, {}, ValueError, "t/s: expected a name without '/'"),
        ({"x": (("t", "t"), np.eye(2))}, {}, ValueError, "x: expected dimensions that differ"),
        ({"a/b": (("time",), np.zeros(2))}, {}, ValueError, "a/b: expected a name without '/'"),
        ({"x": (("time",), np.array(["a", None]))}, {}, TypeError, "x: expected an array of numbers, found object"),
        ({"x": ("time", np.zeros(2))}, {"tim": np.zeros(2)}, ValueError, "coordinates: expected names among 'time'"),
        ({"x": ("time", np.zeros(2))}, {"time": np.zeros(3)}, ValueError, r"expected shape \(2,\) for 'time', found"),
    ],
)
def test_what_cannot_be_saved_is_refused(tmp_path, variables, coordinates, error, message):
    with pytest.raises(error, match=message):
        store.save(tmp_path / "a.h5", variables, coordinates=coordinates)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="out: expected a folder that can be written to"):
        store.writable_folder(tmp_path / "file")


def test_files_have_ordinary_permissions(tmp_path):
    store.save(tmp_path / "a.h5", VARIABLES)
    (tmp_path / "b").write_text("")
    assert (tmp_path / "a.h5").stat().st_mode == (tmp_path / "b").stat().st_mode
