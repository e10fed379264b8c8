"""The talk's second chapter: convolution as matrix multiplication, lowered in panels that stay in cache."""

from pipeline.gemm.conv import conv2d
from pipeline.gemm.pool import average_pool

__all__ = ["average_pool", "conv2d"]
