"""A bank keeps its bytes, and a hostile file is refused before it costs anything."""

import errno
import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from pipeline.errors import BankError, OutputError
from pipeline.network import Bank, bank_file
from pipeline.network.bank import FRONT

FIXTURES = Path(__file__).parent / "fixtures"


HIDDEN = {"hidden": np.ones((2, 2, 3, 3)), "hidden_bias": [0.5, -0.5], "hidden_pool": 2}


def good_bank(**change):
    parts = {
        "name": "rcf-mixed",
        "bands": ("B04", "B08 — near infrared"),
        "mean": [1.0, 2.0],
        "std": [3.0, 0.5],
        "filters": np.arange(36).reshape(2, 2, 3, 3),
        "bias": [0.5, -0.5],
        "labels": ("rcf_000", "rcf_001"),
        "spectra": True,
    }
    return Bank(**{**parts, **change})


def members(bank):
    """The .npy members of a saved bank, by name."""
    with zipfile.ZipFile(io.BytesIO(bank.to_bytes())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archived(parts, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def test_saved_and_loaded_bytes_are_equal(tmp_path):
    bank = good_bank()
    bank.save(tmp_path / "bank.npz")
    loaded = Bank.load(tmp_path / "bank.npz")
    assert loaded.to_bytes() == bank.to_bytes() == (tmp_path / "bank.npz").read_bytes()
    assert loaded.digest() == bank.digest() != good_bank(pool=5).digest()
    for name in ("name", "bands", "labels", "signs", "pool", "spectra", "version", "features"):
        assert getattr(loaded, name) == getattr(bank, name)
        assert type(getattr(loaded, name)) is type(getattr(bank, name))
    for name in ("mean", "std", "filters", "bias"):
        assert_array_equal(getattr(loaded, name), getattr(bank, name))
        assert getattr(loaded, name).dtype == getattr(bank, name).dtype


def test_projection_and_hidden_layer_come_back(tmp_path):
    bank = good_bank(projection=[[0.5, 2.0], [1.0, -1.0]], **HIDDEN)
    bank.save(tmp_path / "bank.npz")
    loaded = Bank.load(tmp_path / "bank.npz")
    assert loaded.to_bytes() == bank.to_bytes() != good_bank(**HIDDEN).to_bytes()
    for name in ("projection", "hidden", "hidden_bias"):
        assert_array_equal(getattr(loaded, name), getattr(bank, name))
    assert (loaded.hidden_pool, loaded.planes, loaded.groups, loaded.dilation) == (2, 2, 1, 2)


def test_version_1_is_read_as_it_was_written(tmp_path):
    """The file is what version 1 of this program wrote for `good_bank`."""
    path = FIXTURES / "bank_v1.npz"
    bank = Bank.load(path)
    assert bank.to_bytes() == path.read_bytes()
    assert bank.version == 1
    assert not bank.projection.size
    assert not bank.hidden.size
    assert bank.digest() == "6da00f810dfedca9cf60fa3d7acc6a0610bbfb9123a29906288823aeb384a474"
    now = good_bank()
    for name in ("name", "bands", "labels", "features", "spectra", "pool", "signs"):
        assert getattr(bank, name) == getattr(now, name)
    assert_array_equal(bank.filters, now.filters)


@pytest.mark.parametrize(("version", "kept"), [(2, False), (1, True)])
def test_a_version_with_the_parts_of_another_is_refused(tmp_path, version, kept):
    parts = {**members(good_bank()), "version.npy": npy(np.array(version))}
    if not kept:
        parts = {name: part for name, part in parts.items() if name.removesuffix(".npy") not in FRONT}
    (tmp_path / "bank.npz").write_bytes(archived(parts))
    with pytest.raises(BankError, match=f"not those of version {version}"):
        Bank.load(tmp_path / "bank.npz")


def test_numpy_reads_it_without_pickle(tmp_path):
    good_bank().save(tmp_path / "bank.npz")
    with np.load(tmp_path / "bank.npz", allow_pickle=False) as parts:
        assert list(parts["bands"]) == ["B04", "B08 — near infrared"]
        assert parts["filters"].shape == (2, 2, 3, 3)


def test_saving_replaces_whole_or_not_at_all(tmp_path):
    path = tmp_path / "bank.npz"
    good_bank().save(path)
    good_bank(pool=5).save(path)
    assert Bank.load(path).pool == 5
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError, match="cannot write the bank"):
        good_bank().save(tmp_path / "nowhere" / "bank.npz")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot write the bank"):
        good_bank().save(tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bank.npz", "folder"]


def test_a_full_disk_leaves_the_bank_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "bank.npz"
    good_bank().save(path)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bank_file.os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write the bank .*bank\.npz: No space left"):
        good_bank(pool=5).save(path)
    assert Bank.load(path).pool == 9
    assert list(tmp_path.iterdir()) == [path]


def test_features_are_named_in_order():
    assert good_bank().features == (
        *("rcf_000+", "rcf_001+", "rcf_000-", "rcf_001-"),
        *("mean5_B04", "mean5_B08 — near infrared"),
        *("B04", "B08 — near infrared"),
    )
    assert good_bank(signs="one", spectra=False).features == ("rcf_000", "rcf_001")


def test_halo_reads_the_pool_the_filter_and_the_last_cell():
    assert good_bank().halo() == 5
    assert good_bank().halo(1, 1) == 2
    assert good_bank(spectra=False).halo(1, 1) == 1
    assert good_bank().halo(9, 4) == 5
    assert good_bank().halo(1, 16) == 14
    assert good_bank(**HIDDEN).halo() == 8  # 1 of the hidden layer, 1 of its mean, 2 of the filter, 4 of the pool


def test_a_scene_with_other_bands_is_refused_by_name():
    good_bank().check_scene(("B04", "B08 — near infrared"), "scene.tif")
    with pytest.raises(BankError, match=r"scene.tif has bands B03.*fitted to B04"):
        good_bank().check_scene(("B03", "B04"), "scene.tif")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 3}, "version 3"),
        ({"version": 1, "projection": np.ones((2, 2))}, "version 1 has no projection"),
        ({"bands": ("B04",)}, "divide 1 planes"),
        ({"bands": ()}, "0 bands"),
        ({"bands": ("B04", "x" * 1001)}, "1000 letters"),
        ({"mean": [1.0]}, r"mean \(1,\)"),
        ({"std": [1.0, 0.0]}, "not positive"),
        ({"mean": [1.0, np.nan]}, "not finite"),
        ({"bias": [1.0, np.inf]}, "not finite"),
        ({"bias": [1.0]}, r"bias \(1,\)"),
        ({"labels": ("a",)}, "1 labels"),
        ({"filters": np.zeros((2, 2, 3))}, "not \\(N, planes/groups"),
        ({"filters": np.zeros((2, 2, 3, 4))}, "not square"),
        ({"filters": np.zeros((3, 1, 3, 3)), "bias": [0] * 3, "labels": ("a",) * 3}, "groups"),
        ({"signs": "none"}, "signs 'none'"),
        ({"pool": 0}, "pool 0"),
        ({"pool": 10**6}, "pool 1000000"),
        ({"projection": np.ones((2, 3))}, "projection"),
        ({"projection": np.ones((3, 2))}, "3 components are more"),
        ({"projection": np.ones((1, 2))}, "divide 1 planes"),
        ({"projection": np.full((2, 2), np.nan)}, "not finite"),
        ({"hidden": np.ones((2, 3, 3, 3)), "hidden_bias": [0, 0]}, "the hidden layer"),
        ({"hidden": np.ones((2, 2, 3, 2)), "hidden_bias": [0, 0]}, "not square"),
        ({"hidden": np.ones((2, 2, 3, 3)), "hidden_bias": [0]}, "hidden_bias"),
        ({"hidden_bias": [0, 0]}, "no such layer"),
        ({"hidden_pool": 0}, "hidden_pool 0"),
        ({"hidden_pool": 17}, "hidden_pool 17"),
        ({**HIDDEN, "hidden_pool": 16, "filters": np.ones((2, 2, 65, 65))}, "beyond what is allowed"),
    ],
)
def test_parts_that_do_not_fit_are_refused_in_words(change, words, tmp_path):
    with pytest.raises(BankError, match=words):
        good_bank(**change)


def damaged():
    """Name -> bytes of a file that is no bank, and words of the refusal."""
    good = members(good_bank())
    whole = archived(good)
    header = np.lib.format.header_data_from_array_1_0(np.zeros(2))
    vast = io.BytesIO()
    np.lib.format.write_array_header_1_0(vast, {**header, "shape": (10**13,)})
    empty = io.BytesIO()
    np.lib.format.write_array_header_1_0(empty, {"descr": "<U0", "fortran_order": False, "shape": (10**9,)})
    pickled = npy(np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    zip64 = whole[:-22] + struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1) + whole[-22:]
    lengthy = whole[:-10] + struct.pack("<LLH", 1 << 20, 0, 0)
    return {
        "nothing": (b"", "not an .npz archive"),
        "text": (b"not a bank" * 9, "not an .npz archive"),
        "a torn file": (whole[: len(whole) // 2], "not an .npz archive"),
        "a lost head": (whole[200:], ""),
        "a flipped bit": (whole.replace(b"\x00\x00\x80?", b"\x00\x00\x80>", 1), "CRC"),
        "no filters": (archived({name: part for name, part in good.items() if name != "filters.npy"}), "it holds"),
        "one more": (archived({**good, "../more.npy": b""}), "it holds"),
        "a pickle": (archived({**good, "labels.npy": pickled}), "not an array"),
        "a vast shape": (archived({**good, "mean.npy": vast.getvalue()}), "but holds 0 bytes"),
        "many empty names": (archived({**good, "bands.npy": empty.getvalue()}), "not an array"),
        "names for numbers": (archived({**good, "mean.npy": npy(np.array(["a", "b"]))}), "holds <U1"),
        "numbers for names": (archived({**good, "bands.npy": npy(np.zeros(2))}), "holds float64"),
        "fortran order": (
            archived({**good, "filters.npy": npy(np.asfortranarray(np.zeros((2, 2, 3, 3))))}),
            "not an array",
        ),
        "letters that are none": (
            archived({**good, "name.npy": npy(np.array("a")).replace(b"a\0\0\0", b"\xff" * 4)}),
            "",
        ),
        "a list for a name": (archived({**good, "name.npy": npy(np.array(["a"]))}), "names"),
        "a name for a list": (archived({**good, "bands.npy": npy(np.array("B04"))}), ""),
        "bzip2": (archived(good, zipfile.ZIP_BZIP2), "compressed in a way"),
        "another zip64": (zip64, "not an .npz archive"),
        "a long directory": (lengthy, "its directory is not a bank's"),
        "a deep header": (archived({**good, "mean.npy": b"\x93NUMPY\1\0\xe8\3" + b"(" * 1000}), "not an array"),
    }


@pytest.mark.parametrize("name", damaged())
def test_a_hostile_file_is_refused_with_its_path(name, tmp_path):
    content, words = damaged()[name]
    path = tmp_path / "bank.npz"
    path.write_bytes(content)
    with pytest.raises(BankError, match=rf"(?s)cannot read the bank .*bank\.npz: .*{words}"):
        Bank.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BankError, match=r"cannot read the bank .*missing\.npz: No such file"):
        Bank.load(tmp_path / "missing.npz")


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    """64 MiB of zeros in 64 kB, once declared and once behind a header that says 100 bytes."""
    bomb = npy(np.zeros(8 << 20))
    content = archived({**members(good_bank()), "mean.npy": bomb}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(bank_file, "MOST_BYTES", 8 << 20)
    size = struct.pack("<L", len(bomb))
    assert content.count(size) == 2
    for hostile in (content, content.replace(size, struct.pack("<L", 100))):
        path = tmp_path / "bank.npz"
        path.write_bytes(hostile)
        tracemalloc.start()
        try:
            with pytest.raises(BankError, match="cannot read the bank"):
                Bank.load(path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 2 << 20
