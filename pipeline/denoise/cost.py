"""What denoising costs before it runs: the FLOPs of its matrix products."""

from __future__ import annotations

from pipeline.denoise.settings import settings_for
from pipeline.denoise.whiten import KEEP_ALL

# Side of a large block.
LARGE = 1 << 10


def flops_per_pixel(bands: int, quality: str) -> float:
    """FLOPs per pixel: a Gram (2d²) for each patch learnt from; a projection there and back, and a Gram of the scores,
    for each patch folded: 4·d·r + 2·r² of r directions, three tenths of d for each of `headroom`.

    Of large blocks: small ones are denoised by patches of a second size, too, about half as much again. Many bands are
    taken for KEEP_ALL planes.
    """
    if quality == "none":
        return 0.0
    planes, total = min(bands, KEEP_ALL), 0.0
    for settings in settings_for(quality, bands, planes).sizes(LARGE**2, planes, LARGE):
        columns = settings.patch**2 * planes
        kept = columns * min(1.0, 0.3 * settings.headroom)
        total += 2.0 * columns**2 / (settings.learn[0] * settings.learn[1])
        total += (4.0 * columns * kept + 2.0 * kept**2) / (settings.apply[0] * settings.apply[1])
    return total
