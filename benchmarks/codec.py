"""What a chunk costs: bits per pixel and band at a bound, whole containers counted, and the speed both ways."""

from __future__ import annotations

from pathlib import Path

from benchmarks.scene import FULL, SAMPLE
from benchmarks.tables import cpu_seconds, print_table
from pipeline.codec import EFFORTS, Bound, decode, encode
from pipeline.flow.read import central_window, open_scene

BOUNDS = (Bound("snr", 30.0), Bound("snr", 40.0), Bound("snr", 50.0), Bound("max_error", 1.0), Bound("lossless"))
CASES = [(bound, effort) for effort in EFFORTS for bound in BOUNDS]
OTHERS = ("LC80200392015216LGN00_10band_30m.tif", "aviris_indian_pines_200band_20m.tif")


def main(smoke: bool) -> None:
    """The middle 512 x 512 pixels of each scene that is there, as one chunk."""
    real = [FULL, *(FULL.with_name(name) for name in OTHERS)]
    scenes: list[Path] = [SAMPLE] if smoke or not FULL.is_file() else real
    rows: list[list[object]] = []
    for path in scenes:
        source = open_scene(str(path))
        block, valid = source.read(central_window(source, 64 if smoke else 512))
        megabytes = block.nbytes / 1e6
        for bound, effort in CASES:
            data = encode(block, valid, bound, effort=effort)
            repeats = 1 if smoke else 3
            there = megabytes / cpu_seconds(
                lambda b=block, v=valid, w=bound, e=effort: encode(b, v, w, effort=e), repeats
            )
            back = megabytes / cpu_seconds(lambda d=data: decode(d), repeats)
            shape = " x ".join(map(str, block.shape))
            rows.append(
                [
                    path.stem,
                    shape,
                    str(bound),
                    effort,
                    f"{8 * len(data) / block.size:.3f}",
                    f"{there:.0f}",
                    f"{back:.0f}",
                ]
            )
    print_table(["scene", "block", "bound", "effort", "bits per pixel and band", "encode MB/s", "decode MB/s"], rows)
