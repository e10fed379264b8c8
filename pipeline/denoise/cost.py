"""What denoising costs before it runs: the FLOPs of its matrix products."""

from __future__ import annotations

from pipeline.denoise.settings import settings_for
from pipeline.denoise.whiten import KEEP_ALL


def flops_per_pixel(bands: int, quality: str) -> float:
    """FLOPs per pixel: a Gram (2d²) for each patch learnt from; a projection there and back, and a Gram of the scores,
    for each patch folded: 4·d·r + 2·r² of r directions, three tenths of d for each of `headroom`.

    Of large blocks: small ones are denoised by patches of a second size, too, about half as much again.
    """
    if quality == "none":
        return 0.0
    settings = settings_for(quality, bands)
    columns = settings.patch**2 * min(bands, KEEP_ALL)
    kept = columns * min(1.0, 0.3 * settings.headroom)
    learnt = 2.0 * columns**2 / (settings.learn[0] * settings.learn[1])
    return learnt + (4.0 * columns * kept + 2.0 * kept**2) / (settings.apply[0] * settings.apply[1])
