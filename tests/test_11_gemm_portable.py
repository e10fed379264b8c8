"""The kernels on processors with narrower registers, down to SSE2 without a fused multiply-add."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from pipeline.gemm import conv2d
from pipeline.gemm.lowered import conv2d_lowered
from pipeline.gemm.microkernel import FUSED, LANES

rng = np.random.default_rng(0)
for channels, filters, stride in ((8, 32, 1), (3, 9, 2)):
    x = rng.standard_normal((channels, 41, 75), dtype=np.float32)
    weights = rng.standard_normal((filters, channels, 3, 3), dtype=np.float32)
    expected = conv2d_lowered(x, weights, padding=1, stride=stride)
    for exact in (False, True):
        result = conv2d(x, weights, padding=1, stride=stride, exact=exact)
        assert np.abs(result - expected).max() < 1e-4 * expected.std(), (LANES, channels, exact)
print(LANES, FUSED)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "features", "printed"), [("generic", "", "4 False"), ("haswell", "+avx2,+fma", "8 True")]
)
def test_narrow_registers_give_the_same_sums(tmp_path, name, features, printed):
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("these are names of x86 processors")
    variables = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == printed
