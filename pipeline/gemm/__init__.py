"""The talk's second chapter: convolution as matrix multiplication, in panels that stay in cache."""

from pipeline.gemm.conv import conv2d
from pipeline.gemm.convolution import Convolution, parallel
from pipeline.gemm.memory import aligned
from pipeline.gemm.pool import average_pool
from pipeline.gemm.pooled import pooled_responses, responses_at_once

__all__ = ["Convolution", "aligned", "average_pool", "conv2d", "parallel", "pooled_responses", "responses_at_once"]
