"""features_block against torch, against a slow reference, and tile by tile against the whole scene."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import correlate

from pipeline.errors import BankError, BlockError
from pipeline.gemm import conv2d, pooled
from pipeline.grid import Grid, Halo, Window
from pipeline.network import Bank, features_block
from pipeline.network.halo import needed

FIXTURE = Path(__file__).parent / "fixtures" / "torchgeo_rcf.npz"


def random_front(rng, bands, front):
    """Planes that the filters see, and the parts of a bank before them: front is some of "projection", "hidden"."""
    parts = {}
    if "projection" in front:
        parts["projection"] = rng.standard_normal((2, bands)) / 2
        bands = 2
    if "hidden" in front:
        side = int(rng.integers(1, 5))
        parts["hidden"] = rng.standard_normal((4, bands, side, side)) / side
        parts["hidden_bias"] = rng.standard_normal(4) / 2
        parts["hidden_pool"] = int(rng.integers(1, 4))
        bands = 4
    return bands, parts


def random_bank(seed=0, bands=3, count=4, size=3, groups=1, signs="both", spectra=True, pool=9, front=()):
    rng = np.random.default_rng(seed)
    planes, parts = random_front(rng, bands, front)
    return Bank(
        name="test",
        bands=tuple(f"B{band}" for band in range(bands)),
        mean=rng.uniform(100, 200, bands),
        std=rng.uniform(5, 20, bands),
        filters=rng.standard_normal((count, planes // groups, size, size)) / size,
        bias=rng.standard_normal(count),
        labels=tuple(f"f{number}" for number in range(count)),
        signs=signs,
        pool=pool,
        spectra=spectra,
        **parts,
    )


def random_scene(seed, bands, height, width, holes=0):
    rng = np.random.default_rng([seed, 1])
    scene = rng.normal(150, 15, (bands, height, width))
    valid = np.ones((height, width), bool)
    valid[rng.integers(0, height, holes), rng.integers(0, width, holes)] = False
    return scene, valid


def whole_scene(scene, valid, bank, pool, stride):
    window = Window(0, scene.shape[1], 0, scene.shape[2])
    shape = scene.shape[1:]
    return features_block(scene, valid, bank, pool=pool, stride=stride, window=window, outer=window, scene_shape=shape)


def tiled_scene(scene, valid, bank, pool, stride, tile):
    shape = scene.shape[1:]
    cells = [-(-length // stride) for length in shape]
    features = np.full((len(bank.features), *cells), 7, np.float32)
    usable = np.ones(cells, bool)
    for place in Grid(*shape, tile):
        outer = place.window.expand(Halo.even(bank.halo(pool, stride)), *shape)
        options = {"pool": pool, "stride": stride, "window": place.window, "outer": outer, "scene_shape": shape}
        part, ok = features_block(scene[:, *outer.slices], valid[outer.slices], bank, **options)
        y, x = place.window.y0 // stride, place.window.x0 // stride
        features[:, y : y + ok.shape[0], x : x + ok.shape[1]] = part
        usable[y : y + ok.shape[0], x : x + ok.shape[1]] = ok
    return features, usable


def same(z, filters, bias, groups, before):
    """Every filter correlated with its planes, in float64, `before` pixels of it before its own; 0 where it has not
    all its pixels."""
    channels, per_group = len(z) // groups, len(filters) // groups
    maps = []
    for number, cube in enumerate(filters):
        first = number // per_group * channels
        response = correlate(z[first : first + channels], cube, mode="valid", method="direct")[0]
        maps.append(np.pad(response, (before, cube.shape[-1] - 1 - before)) + bias[number])
    return np.stack(maps)


def slow_front(z, bank):
    """What the filters see, by definition; how much wider than a pixel its receptive field is, and before it."""
    if bank.projection.size:
        z = np.tensordot(bank.projection.astype(float), z, 1)
    if not bank.hidden.size:
        return z, 0, 0
    side, pool = bank.hidden.shape[-1], bank.hidden_pool
    maps = np.maximum(same(z, bank.hidden, bank.hidden_bias, 1, (side - 1) // 2), 0)
    before = pool // 2
    means = same(maps, np.full((len(maps), 1, pool, pool), pool**-2.0), np.zeros(len(maps)), len(maps), before)
    return means, side + pool - 2, (side - 1) // 2 + before


def slow_features(scene, valid, bank, pool, stride):
    """The definition, in float64: reflect far, correlate every filter, rectify, average every window on its own."""
    far = 2 * max(pool, stride, 5) + 4 * bank.filters.shape[-1] + 10
    z = np.where(valid, (scene - bank.mean[:, None, None]) / bank.std[:, None, None], 0)
    z = np.pad(z, ((0, 0), (far, far), (far, far)), mode="symmetric")
    lost = np.pad(~valid, far, mode="symmetric")[None].astype(float)
    size, cells = bank.filters.shape[-1], [-(-length // stride) for length in scene.shape[1:]]

    def pooled(planes, extent, first):
        windows = sliding_window_view(planes, (extent, extent), axis=(1, 2)).mean(axis=(3, 4))
        ys, xs = ([far + i * stride + first for i in range(count)] for count in cells)
        return windows[:, ys][:, :, xs]

    seen, field, before = slow_front(z, bank)
    dilated = np.kron(bank.filters, np.eye(1, bank.dilation**2).reshape(bank.dilation, bank.dilation))
    dilated = dilated[..., : (size - 1) * bank.dilation + 1, : (size - 1) * bank.dilation + 1]
    responses, centre = (
        same(seen, dilated, bank.bias, bank.groups, (size - 1) // 2 * bank.dilation),
        (stride - pool) // 2,
    )
    parts = [pooled(np.maximum(responses, 0), pool, centre)]
    if bank.signs == "both":
        parts.append(pooled(np.maximum(-responses, 0), pool, centre))
    field, before = field + dilated.shape[-1] - 1, before + (size - 1) // 2 * bank.dilation
    usable = pooled(lost, pool + field, centre - before)[0] == 0
    if bank.spectra:
        parts += [pooled(z, 5, (stride - 5) // 2), pooled(z, stride, 0)]
        usable &= (pooled(lost, 5, (stride - 5) // 2)[0] == 0) & (pooled(lost, stride, 0)[0] == 0)
    return np.where(usable, np.concatenate(parts), np.nan), usable


sizes = st.integers(1, 5)
banks = st.builds(
    random_bank,
    seed=st.integers(0, 99),
    bands=st.sampled_from([2, 4]),
    count=st.just(4),
    size=sizes,
    groups=st.sampled_from([1, 2]),
    signs=st.sampled_from(["both", "one"]),
    spectra=st.booleans(),
    front=st.sampled_from([(), ("projection",), ("hidden",), ("projection", "hidden")]),
)
scenes = {
    "seed": st.integers(0, 99),
    "height": st.integers(1, 40),
    "width": st.integers(1, 40),
    "holes": st.integers(0, 3),
    "pool": st.integers(1, 11),
    "stride": st.integers(1, 6),
}


@settings(deadline=None, max_examples=40)
@given(bank=banks, **scenes)
def test_equals_the_definition(bank, seed, height, width, holes, pool, stride):
    scene, valid = random_scene(seed, len(bank.bands), height, width, holes)
    features, usable = whole_scene(scene, valid, bank, pool, stride)
    expected, expected_usable = slow_features(scene, valid, bank, pool, stride)
    assert features.dtype == np.float32
    assert features.shape == (len(bank.features), -(-height // stride), -(-width // stride))
    assert_array_equal(usable, expected_usable)
    assert_allclose(features, expected, atol=2e-5)


@settings(deadline=None, max_examples=40)
@given(bank=banks, tiles=st.integers(1, 4), **scenes)
def test_tiles_are_the_whole(bank, tiles, seed, height, width, holes, pool, stride):
    scene, valid = random_scene(seed, len(bank.bands), height, width, holes)
    features, usable = whole_scene(scene, valid, bank, pool, stride)
    tiled, tiled_usable = tiled_scene(scene, valid, bank, pool, stride, 5 * tiles * stride)
    assert_array_equal(tiled_usable, usable)
    assert_allclose(tiled, features, atol=1e-5, rtol=0)


def test_bands_of_rows_and_groups_of_filters_are_the_whole(monkeypatch):
    scene, valid = random_scene(0, 3, 60, 50)
    bank = random_bank(count=7)
    for pool, stride in ((9, 1), (9, 4), (2, 5)):
        expected, _ = whole_scene(scene, valid, bank, pool, stride)
        with monkeypatch.context() as patch:
            patch.setattr(pooled, "ROOM", 100_000)
            banded, _ = whole_scene(scene, valid, bank, pool, stride)
        assert_allclose(banded, expected, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 4])
def test_agrees_with_torch_where_torchgeo_rcf_does_the_same(stride):
    torch = np.load(FIXTURE, allow_pickle=False)
    scene, filters = torch["scene"], torch["filters"]
    bank = Bank(
        name="torchgeo-rcf",
        bands=tuple("abcd"),
        mean=np.zeros(4),
        std=np.ones(4),
        filters=filters,
        bias=torch["bias"],
        labels=tuple(f"rcf_{number:03d}" for number in range(len(filters))),
    )
    features, usable = whole_scene(scene, np.ones(scene.shape[1:], bool), bank, 9, stride)
    expected = torch[f"pooled_9_stride_{stride}"]
    first = {1: 5, 4: 1}[stride]
    assert usable.all()
    inner = features[:, first : first + expected.shape[1], first : first + expected.shape[2]]
    assert inner.shape == expected.shape
    assert_allclose(inner, expected, atol=1e-5)
    assert bank.features[:2] == ("rcf_000+", "rcf_001+")
    assert bank.features[8:10] == ("rcf_000-", "rcf_001-")


def test_conv2d_agrees_with_torch():
    torch = np.load(FIXTURE, allow_pickle=False)
    response = conv2d(torch["scene"], torch["filters"], torch["bias"])
    assert_allclose(response, torch["response"], atol=1e-5)
    signs = np.concatenate([np.maximum(response, 0), np.maximum(-response, 0)])
    assert_allclose(signs.mean(axis=(1, 2)), torch["pooled_whole"], atol=1e-5)


@pytest.mark.parametrize(("size", "pool", "stride"), [(3, 9, 1), (3, 9, 4), (4, 2, 5), (5, 5, 2), (3, 1, 7)])
@pytest.mark.parametrize("front", [(), ("hidden",)])
def test_a_pixel_changes_the_cells_it_should_and_no_other(size, pool, stride, front):
    bank = random_bank(seed=3, size=size, front=front)
    linear = {"bias": np.full(4, 200), "hidden_bias": np.full(len(bank.hidden), 50)}
    bank = Bank(**{**{name: getattr(bank, name) for name in bank.__dict__}, **linear})
    scene, valid = random_scene(3, 3, 45, 45)
    before, _ = whole_scene(scene, valid, bank, pool, stride)
    rng = np.random.default_rng(4)
    for y, x in rng.integers(16, 29, (12, 2)):
        changed, holed = scene.copy(), valid.copy()
        changed[:, y, x] += 60
        holed[y, x] = False
        moved = (np.abs(whole_scene(changed, valid, bank, pool, stride)[0] - before) > 1e-4).any(axis=0)
        expected = np.zeros_like(moved)
        for i, j in np.ndindex(*moved.shape):
            for path in bank.paths(pool, stride):
                (top, bottom), (left, right) = needed(path, i, i), needed(path, j, j)
                expected[i, j] |= top <= y <= bottom and left <= x <= right
        assert_array_equal(moved, expected)
        assert_array_equal(~whole_scene(scene, holed, bank, pool, stride)[1], expected)


def test_what_lies_under_the_mask_never_matters():
    bank = random_bank()
    scene, valid = random_scene(1, 3, 40, 40, holes=5)
    clean, usable = whole_scene(scene, valid, bank, 3, 1)
    assert 0 < usable.sum() < usable.size
    for garbage in (np.nan, np.inf, -3.4e38, 1e300):
        dirty = np.where(valid, scene, garbage)
        features, same = whole_scene(dirty, valid, bank, 3, 1)
        assert_array_equal(same, usable)
        assert_array_equal(features, clean)
        unmasked = np.where(valid, scene, np.nan if garbage == -3.4e38 else garbage)
        assert_array_equal(whole_scene(unmasked, np.ones_like(valid), bank, 3, 1)[0], clean)


def test_nothing_valid_is_all_nan():
    bank = random_bank()
    scene, _ = random_scene(2, 3, 12, 12)
    features, usable = whole_scene(scene, np.zeros((12, 12), bool), bank, 9, 1)
    assert np.isnan(features).all()
    assert not usable.any()


def test_integers_of_the_file_need_no_cast_by_the_caller():
    bank = random_bank()
    scene = np.random.default_rng(5).integers(100, 200, (3, 20, 20)).astype(np.uint16)
    valid = np.ones((20, 20), bool)
    assert_array_equal(whole_scene(scene, valid, bank, 9, 2)[0], whole_scene(scene.astype(float), valid, bank, 9, 2)[0])


def test_memory_is_the_features_and_a_buffer():
    bank = random_bank(count=64)
    scene, valid = random_scene(6, 3, 256, 256)
    whole_scene(scene, valid, bank, 9, 4)
    tracemalloc.start()
    try:
        features, _ = whole_scene(scene, valid, bank, 9, 4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    block = 3 * 270 * 270 * 4
    assert peak <= features.nbytes + 4 * block + 2 * pooled.ROOM
    assert 2 * peak < 64 * 256 * 256 * 4


WINDOW, SHAPE = Window(8, 16, 8, 16), (40, 40)


def test_a_block_that_does_not_fit_is_refused_in_words():
    bank = random_bank()
    scene, valid = random_scene(7, 3, *SHAPE)
    good = {"pool": 9, "stride": 4, "window": WINDOW, "scene_shape": SHAPE}
    outer = WINDOW.expand(Halo.even(bank.halo(9, 4)), *SHAPE)
    block, ok = scene[:, *outer.slices], valid[outer.slices]
    features_block(block, ok, bank, outer=outer, **good)
    tight = WINDOW.expand(Halo.even(bank.halo(9, 4) - 1), *SHAPE)
    for words, error, change in (
        (
            "read with halo",
            BlockError,
            {"block": scene[:, *tight.slices], "valid": valid[tight.slices], "outer": tight},
        ),
        ("must be", BlockError, {"block": block[:, 1:]}),
        ("bool", BlockError, {"valid": ok.astype(np.uint8)}),
        ("fitted to 3 bands, the block has 2", BankError, {"block": block[:2]}),
        ("whole cells of 4 pixels", BlockError, {"window": Window(9, 16, 8, 16)}),
        ("whole cells of 4 pixels", BlockError, {"window": Window(8, 16, 8, 15)}),
        ("at least 1 pixel", BlockError, {"stride": 0}),
    ):
        with pytest.raises(error, match=words):
            features_block(**{"block": block, "valid": ok, "bank": bank, "outer": outer, **good, **change})
