"""What may stand for the number of a bound, and numbers at the ends of what a float holds."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline.codec import Bound, decode, encode
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    "value", [5, np.float32(5), np.int64(5), np.uint8(5), np.array(5.0), xr.DataArray(5), Fraction(5)]
)
def test_a_number_of_any_kind(value: Any) -> None:
    bound = Bound("rmse", value)
    assert bound == Bound("rmse", 5.0)
    assert type(bound.value) is float


@pytest.mark.parametrize(
    "value",
    [None, True, np.True_, "5", np.array([5.0]), xr.DataArray([5.0]), 5j, np.nan, np.float32(np.inf), 10**400, [5]],
)
def test_what_is_no_number_is_said_in_one_line(value: Any) -> None:
    with pytest.raises(ConfigError, match="needs a finite number") as caught:
        Bound("rmse", value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bound", ["rmse", "max_error"])
@pytest.mark.parametrize("value", [1e149, 1e153, 1e155, 1e300, 1.7e308])
@pytest.mark.parametrize("size", [1.0, 1e140, 1e152, 1e300])
def test_huge_errors_that_are_allowed(bound: Any, value: float, size: float) -> None:
    block = np.random.default_rng(3).normal(0, size, (3, 24, 20))
    back, _ = decode(encode(block, None, Bound(bound, value)))
    assert np.abs(back / value - block / value).max() <= 1
