"""Dates of few bands are denoised as one block as far as they share their pixels, what is left of each by itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.denoise import denoise_block
from pipeline.flow.basis_files import remove_models
from pipeline.flow.by_date import LEAST_TOGETHER, dates_among, dates_of, joined
from pipeline.flow.denoise import Denoising
from pipeline.flow.denoised import Masked, denoised_window
from pipeline.flow.read import open_scene
from pipeline.flow.scene_basis import PASSES, fit_scene, with_basis
from pipeline.grid import Window
from tests.scenes import call
from tests.test_39_dates_denoised import ALL, DAYS, dates, labels, truth, written


def test_dates_of_few_bands_together_and_what_is_left_of_each_by_itself() -> None:
    blocks = dates(2)
    cube, own = np.concatenate(blocks), [block.all(axis=0) for block in blocks]
    valid = np.logical_and.reduce(own)
    words = {"clear": [None] * 3, "dates": dates_among(labels(6, 2))}
    made = denoised_window(Denoising("fast"), cube, valid, (0, 0), ALL, 0, **words)
    together = denoise_block(cube, valid, repair="stripes").block
    assert np.abs(made.block - together)[:, valid].max() <= 0.5
    for number, block in enumerate(blocks):
        alone = denoise_block(block, own[number], repair="stripes").block
        left, part = own[number] & ~valid, slice(2 * number, 2 * number + 2)
        assert left.sum() == 2 * 15 * 30
        assert np.abs(made.block[part] - alone)[:, left].max() <= 0.5
        assert (made.block[part][:, ~own[number]] == 0).all()
        error = [np.sqrt(((one - truth(2, number)) ** 2)[:, left].mean()) for one in (block, made.block[part])]
        assert error[1] < 0.7 * error[0]


def test_a_date_of_few_pixels_takes_nothing_from_the_others() -> None:
    blocks = dates(2)
    blocks[1][:, :50] = 0
    cube, own = np.concatenate(blocks), [block.all(axis=0) for block in blocks]
    words = {"clear": [None] * 3, "dates": dates_among(labels(6, 2))}
    made = denoised_window(Denoising("fast"), cube, np.logical_and.reduce(own), (0, 0), ALL, 0, **words)
    both, rest = own[0] & own[2], [0, 1, 4, 5]
    together = denoise_block(cube[rest], both, repair="stripes").block
    assert np.abs(made.block[rest] - together)[:, both].max() <= 0.5
    for number, block in enumerate(blocks):
        where = own[number] & ~both if number != 1 else own[number]
        alone = denoise_block(block, own[number], repair="stripes").block
        assert where.any()
        assert np.abs(made.block[2 * number : 2 * number + 2] - alone)[:, where].max() <= 0.5
    np.testing.assert_array_equal(made.block == 0, cube == 0)


@given(st.lists(st.integers(0, 2**12 - 1), min_size=1, max_size=7))
def test_joined_dates_share_enough_of_the_one_that_has_most(masks: list[int]) -> None:
    each = [np.array([mask >> bit & 1 for bit in range(12)], bool).reshape(3, 4) for mask in masks]
    group = tuple(range(len(each)))
    chosen, shared = joined(group, each)
    most = max(map(np.count_nonzero, each))
    np.testing.assert_array_equal(shared, np.logical_and.reduce([each[date] for date in chosen]))
    assert list(chosen) == sorted(set(chosen))
    assert len(chosen) == 1 or np.count_nonzero(shared) >= max(1, LEAST_TOGETHER * most)
    for date in {*group} - {*chosen}:  # no date is left out that would have fitted
        assert np.count_nonzero(shared & each[date]) < max(1, LEAST_TOGETHER * most)


def test_dates_of_many_and_of_few_bands_in_one_scene() -> None:
    found = dates_among(["a"] * 6 + ["b"] * 2 + ["c"] * 7 + ["d"] * 2 + [None])
    assert found.groups == ((0,), (1, 3, 4), (2,))
    assert found.how == "mixed"
    assert found.bands(0, 1) == slice(0, 8)
    np.testing.assert_array_equal(found.bands(1, 3), [6, 7, 15, 16])
    assert dates_among(["a", None, "a"]) is None
    cube = np.random.default_rng([1]).normal(800, 20, (18, 80, 90)).astype("float32")
    cube[:6] += truth(6)
    valid = np.ones((80, 90), bool)
    words = {"clear": [None] * 5, "dates": found}
    made = denoised_window(Denoising("fast"), cube, valid, (0, 0), ALL, None, **words)
    np.testing.assert_array_equal(made.block[:6], denoise_block(cube[:6], valid).block)
    few = [6, 7, 15, 16, 17]
    np.testing.assert_array_equal(made.block[few], denoise_block(cube[few], valid, repair="stripes").block)


def test_dates_of_few_bands_share_one_model(tmp_path: Path) -> None:
    blocks = [np.where(block == 0, 700, block).astype("uint16") for block in dates(2)]
    words = ("--stack", "--basis", "scene", "--tile", 64)
    assert call("denoise", *written(tmp_path, blocks), tmp_path / "a.zarr", *words).exit_code == 0
    one = call("denoise", *written(tmp_path, blocks), tmp_path / "b.zarr", "--stack", "--tile", 64)
    assert one.exit_code == 0
    a, b = (open_scene(str(tmp_path / name)) for name in ("a.zarr", "b.zarr"))
    assert dates_of(a.info).how == "together"
    window = Window(0, 80, 0, 90)
    assert (a.read(window)[0] != b.read(window)[0]).any()
    assert Denoising("fast", basis="scene").halo(64, dates_of(b.info)) == 32
    assert Denoising("fast", basis="scene").halo(64) == 16


def test_a_date_without_pixels_is_no_empty_scene(tmp_path: Path) -> None:
    blocks = dates(2)
    blocks[1][:] = 0
    result = call("denoise", *written(tmp_path, blocks), tmp_path / "a.tif", "--stack")
    assert result.exit_code == 0
    assert "none of its pixels" not in result.stderr
    for block in blocks:
        block[:] = 0
    result = call("denoise", *written(tmp_path, blocks), tmp_path / "b.tif", "--stack")
    assert "none of its pixels is valid" in result.stderr


def test_masks_are_counted_once_for_dates_together() -> None:
    blocks = dates(2)
    cube = np.concatenate(blocks)
    cube[cube == 0] = 9
    clear = [np.ones((80, 90), bool) for _ in range(3)]
    clear[1][:70] = False
    clear[2][60:] = False
    words = {"clear": clear, "dates": dates_among(labels(6, 2))}
    made = denoised_window(Denoising("fast"), cube, np.ones((80, 90), bool), (0, 0), ALL, 0, **words)
    assert made.masked == Masked(7200, 7200, True, 7200, {0: 0, 1: 6300, 2: 1800})
    words["clear"] = [clear[2]] * 3
    made = denoised_window(Denoising("fast"), cube, np.ones((80, 90), bool), (0, 0), ALL, 0, **words)
    assert made.masked == Masked(7200, 1800)


def test_models_of_dates_are_found_side_by_side(tmp_path: Path) -> None:
    """Whatever their number, a window of a store is read once a pass; a group without a time has a model, too."""
    store = tmp_path / "s.zarr"
    assert call("compress", *written(tmp_path, dates(6)), store, "--stack", "--lossless").exit_code == 0
    whole = open_scene(str(store))
    tags = tuple({} if tag["STACK_TIME"].startswith("2016-03") else tag for tag in whole.info.band_tags)
    reads = []

    class Counted:
        info = replace(whole.info, band_tags=tags)

        def read(self, window: Window):
            reads.append(window)
            return whole.read(window)

    found = with_basis(Counted(), Denoising("fast", basis="scene"), tmp_path / "basis.npz", "key", map)
    assert len(reads) <= PASSES
    assert len(found.models) == 3
    window = Window(0, 80, 0, 90)
    block, _ = whole.read(window)
    for number, one in enumerate(dates(6)):
        alone = fit_scene(open_scene(str(tmp_path / f"s_{DAYS[number]}.tif")), "fast", None, map)
        np.testing.assert_array_equal(found.model(number).sigma, alone.sigma)
        np.testing.assert_array_equal(block[6 * number : 6 * number + 6], one)
    reads.clear()
    (tmp_path / "basis" / "001.npz").unlink()
    again = with_basis(Counted(), Denoising("fast", basis="scene"), tmp_path / "basis.npz", "key", map)
    assert again.models == found.models


def test_who_removes_models_leaves_what_others_put_beside_them(tmp_path: Path) -> None:
    folder = tmp_path / "o.tif.basis"
    folder.mkdir()
    for name in ("000.npz", "001.npz", "mine.txt"):
        (folder / name).touch()
    (tmp_path / "o.tif.basis.npz").touch()
    remove_models(tmp_path / "o.tif.basis.npz")
    assert [path.name for path in tmp_path.rglob("*")] == ["o.tif.basis", "mine.txt"]
    (folder / "mine.txt").rename(folder / "000.npz")
    remove_models(tmp_path / "o.tif.basis.npz")
    assert list(tmp_path.iterdir()) == []
