"""A block in, a block out: the noise found, the planes whitened, the patches shrunk by their SVD.

Calling the room itself, `pipeline.denoise(scene)`, is the verb for xarray objects;
blocks go to `denoise_block`.
"""

from __future__ import annotations

import sys

from pipeline import CallableRoom
from pipeline.denoise.block import Denoised, denoise_block
from pipeline.denoise.noise import estimate_noise
from pipeline.denoise.settings import Settings, settings_for

__all__ = ["Denoised", "Settings", "denoise_block", "estimate_noise", "settings_for"]

sys.modules[__name__].__class__ = CallableRoom
