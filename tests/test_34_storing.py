"""flow/storing.py: squared errors of each band, of some tiles."""

import numpy as np
import pytest

from pipeline.codec import Bound, decode, encode
from pipeline.flow.storing import squared_errors, storing_errors


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_sums_are_those_of_an_element_at_a_time(dtype: str) -> None:
    rng = np.random.default_rng(2)
    block = rng.normal(60, [[[1]], [[5]], [[20]]], (3, 24, 31)).clip(0, 127).astype(dtype)
    real = rng.random(block.shape) > [[[0]], [[0.3]], [[2]]]
    chunk = encode(block, real, Bound("rmse", 2.0))
    stored = decode(chunk)[0]
    slow = [
        (
            int(kept.sum()),
            sum((float(a) - float(b)) ** 2 for a, b in zip(one[kept], other[kept], strict=True)),
        )
        for one, other, kept in zip(block, stored, real, strict=True)
    ]
    found = squared_errors(block, real, chunk)
    assert [count for count, _ in found] == [count for count, _ in slow]
    assert found[2] == (0, 0.0)
    assert found[0][1] > 0
    np.testing.assert_allclose([error for _, error in found], [error for _, error in slow])


def test_infinities_are_left_out() -> None:
    block = np.linspace(0, 9, 64, dtype=np.float32).reshape(1, 8, 8)
    block[0, 3, 3] = np.inf
    chunk = encode(block, np.ones((8, 8), bool), Bound("max_error", 0.5))
    ((count, error),) = squared_errors(block, np.ones((1, 8, 8), bool), chunk)
    assert count == 63
    assert np.isfinite(error)


def test_errors_of_tiles_without_a_value_are_not_known() -> None:
    facts = {"storing": {"rmse": {"B02": float("nan"), "B03": None}}}
    assert storing_errors(facts, 2) is None
    facts["storing"]["rmse"]["B03"] = 2.5
    np.testing.assert_array_equal(storing_errors(facts, 2), [np.nan, 2.5])
    assert storing_errors(facts, 3) is None
    assert storing_errors({}, 2) is None
