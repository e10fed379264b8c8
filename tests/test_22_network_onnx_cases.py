"""Every operator against ONNX's own cases for it: values, dtypes and shapes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from onnx_cases import cases

from pipeline.network.onnx_import import run
from pipeline.network.operators import OPERATORS

DOCS = Path(__file__).parents[1] / "docs" / "algorithms.md"
ATOL = 1e-5


@pytest.mark.parametrize("op", sorted(OPERATORS))
def test_an_operator_agrees_with_onnx_s_cases(op):
    for case in cases()[op]:
        for inputs, outputs in case.sets:
            made = run(case.model, [np.asarray(value) for value in inputs])
            assert len(made) == len(outputs), case.name
            for value, expected in zip(made, outputs, strict=True):
                assert (value.shape, value.dtype) == (np.shape(expected), np.asarray(expected).dtype), case.name
                np.testing.assert_allclose(value, expected, case.rtol, max(case.atol, ATOL), err_msg=case.name)


def test_there_are_cases_for_every_operator():
    assert all(cases().values())
    assert sum(len(found) for found in cases().values()) > 800


def test_the_documentation_lists_the_operators():
    listed = re.search(r"Operators:\n((?:.+\n)+)", DOCS.read_text())[1]
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(OPERATORS)
