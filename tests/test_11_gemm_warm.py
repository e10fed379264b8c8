"""Warming compiles what features run."""

import subprocess
import sys

PROGRAM = """
from pipeline.gemm import cells, direct, winograd
from pipeline.gemm.warm import compile_kernels
compile_kernels()
kernels = (direct.convolve, winograd.convolve, cells.directly, cells.by_winograd)
before = [len(kernel.signatures) for kernel in kernels]
assert all(before), before
import numpy as np
from pipeline.gemm import Convolution, pooled_responses
x, filters = np.ones((12, 60, 70), np.uint16), np.ones((24, 12, 3, 3))
for exact in (False, True):
    Convolution(filters, exact=exact, padding=1)(x, add=np.zeros((24, 60, 70), np.float32))
    pooled_responses(x, Convolution(filters, exact=exact), 9, 1, np.empty((24, 50, 60), np.float32))
assert before == [len(kernel.signatures) for kernel in kernels]
"""


def test_nothing_is_left_to_compile():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
