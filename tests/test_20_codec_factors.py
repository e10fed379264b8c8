"""A chunk as factors: multiplied out they are what decode gives, but for rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pipeline.codec import Bound, decode, decode_factors, encode
from pipeline.errors import FormatError


def scene(seed, bands=12, height=40, width=50, rank=3, level=3000.0, spread=300.0, noise=2.0):
    """Low rank plus noise, smooth along x and y, float64."""
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((bands, rank))
    scores = np.cumsum(np.cumsum(rng.standard_normal((rank, height, width)), axis=1), axis=2)
    scores *= spread / np.abs(scores).max()
    return level + np.tensordot(basis, scores, 1) + noise * rng.standard_normal((bands, height, width))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 999),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64"]),
    effort=st.sampled_from(["fast", "best"]),
    snr=st.sampled_from([25.0, 40.0]),
    level=st.sampled_from([0.0, 60.0, 3000.0]),
    holes=st.integers(0, 30),
    spikes=st.integers(0, 4),
)
def test_factors_multiplied_out_are_the_decoded_block(seed, dtype, effort, snr, level, holes, spikes):
    rng = np.random.default_rng(seed)
    wide = scene(seed, level=level, spread=100.0)
    wide.reshape(-1)[rng.choice(wide.size, spikes, replace=False)] += 4000
    whole = np.dtype(dtype).kind != "f"
    limits = (np.iinfo(dtype).min, np.iinfo(dtype).max) if whole else (-np.inf, np.inf)
    block = np.clip(np.rint(wide) if whole else wide, *limits).astype(dtype)
    valid = np.ones(block.shape[1:], bool)
    valid[rng.integers(0, 40, holes), rng.integers(0, 50, holes)] = False
    data = encode(block, valid, Bound("snr", snr), effort=effort)
    factors = decode_factors(data)
    decoded, real = decode(data)
    if factors is None:
        return
    assert_array_equal(factors.valid, real)
    error = np.abs(factors.block() - decoded)[:, real]
    spread = float(wide.max() - wide.min())
    assert error.max() <= (0.5 + 1e-5 * spread if whole else 1e-5 * spread)


def test_most_chunks_under_a_mean_bound_have_factors():
    for dtype in ("uint16", "float32"):
        for effort in ("fast", "best"):
            data = encode(scene(1).astype(dtype), None, Bound("snr", 35.0), effort=effort)
            factors = decode_factors(data)
            assert factors is not None
            assert factors.basis.shape == (12, len(factors.scores))
            assert factors.scores.dtype == np.float32
            assert factors.nbytes >= factors.scores.nbytes


@pytest.mark.parametrize("bound", [Bound("lossless"), Bound("max_error", 1.0)])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_what_is_foretold_or_has_a_residual_has_none(bound, dtype):
    assert decode_factors(encode(scene(2).astype(dtype), None, bound)) is None


def test_a_chunk_without_a_valid_pixel_and_a_constant_one_have_rank_0():
    block = np.full((3, 20, 20), 7, np.uint16)
    for valid in (None, np.zeros((20, 20), bool)):
        factors = decode_factors(encode(block, valid, Bound("rmse", 2.0)))
        assert factors is not None
        assert factors.scores.shape == (0, 20, 20)
        assert factors.valid.any() is np.bool_(valid is None)
        if valid is None:
            assert_array_equal(factors.block(), block)


def test_every_clipped_element_is_found_and_no_other():
    """A dark scene whose layer swings below 0: against the same look at every element."""
    wide = scene(5, level=150.0, spread=300.0, rank=2, noise=20.0)
    data = encode(np.clip(np.rint(wide), 0, None).astype(np.uint16), None, Bound("snr", 12.0))
    factors = decode_factors(data)
    assert factors is not None
    plain = factors.block()
    plain.reshape(-1)[factors.indices] -= factors.amounts
    below = np.flatnonzero(plain.reshape(-1) < -0.5 - 1e-3)
    assert len(below) > 10
    assert np.isin(below, factors.indices).all()
    decoded, _ = decode(data)
    assert np.abs(factors.block() - decoded).max() <= 0.5 + 1e-3


def test_where_much_is_clipped_there_are_none():
    wide = scene(6, level=0.0, spread=300.0)
    assert decode_factors(encode(np.clip(np.rint(wide), 0, None).astype(np.uint16), None, Bound("snr", 10.0))) is None


def test_damaged_bytes_are_refused():
    data = encode(scene(7).astype(np.uint16), None, Bound("snr", 35.0))
    with pytest.raises(FormatError):
        decode_factors(data[:-5])
    with pytest.raises(FormatError):
        decode_factors(data[:200] + bytes([data[200] ^ 1]) + data[201:])
