"""python -m benchmarks [NAME ...] [--smoke]: measure, and print Markdown rows for docs/benchmarks.md.

BLAS and numba keep to one thread unless a benchmark says otherwise. `--smoke` runs each on tiny input, to see that it
runs at all: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys

for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before numpy is imported, or it would not be heard

from benchmarks import (  # noqa: E402
    answers,
    clouds,
    codec,
    codec_peers,
    convolution,
    denoise_dates,
    denoise_faint,
    denoise_few,
    denoise_gain,
    denoise_scenes,
    denoise_tiles,
    factors,
    features,
    full_scene,
    grids,
    memory,
    networks,
    partitioned,
    reading,
    scale,
    scene,
    stack,
    svd,
    whole,
    workers,
)

BENCHMARKS = {
    "svd": svd.main,
    "denoise-gain": denoise_gain.main,
    "denoise-scenes": denoise_scenes.main,
    "denoise-clean": denoise_scenes.clean,
    "denoise-tiles": denoise_tiles.main,
    "denoise-dates": denoise_dates.main,
    "denoise-few": denoise_few.main,
    "denoise-faint": denoise_faint.main,
    "grids": grids.main,
    "clouds": clouds.main,
    "codec": codec.main,
    "codec-peers": codec_peers.main,
    "convolution": convolution.main,
    "networks": networks.main,
    "features": features.main,
    "answers": answers.main,
    "scene": scene.main,
    "stack": stack.main,
    "factors": factors.main,
    "partitioned": partitioned.main,
    "memory": memory.main,
    "reading": reading.main,
    "scale": scale.main,
    "workers": workers.main,
    "whole": whole.main,
    "full-scene": full_scene.main,
}
SIZED = {"scale": "tiles", "full-scene": "side", "memory": "side", "whole": "side", "workers": "side"}
"""Those that take a size, by the name of its option."""


def main(words: list[str]) -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--smoke", action="store_true", help="tiny input: does it run?")
    parser.add_argument("--tiles", type=int, help="of scale; 1000000 of no work and 100000 of a little by default")
    parser.add_argument("--side", type=int, help=f"pixels, of {', '.join(n for n in SIZED if SIZED[n] == 'side')}")
    options = parser.parse_args(words)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, one thread for BLAS")
    for name in options.names or BENCHMARKS:
        print(f"\n## {name}\n", flush=True)
        size = getattr(options, SIZED[name]) if name in SIZED else None
        BENCHMARKS[name](options.smoke, *([size] if size else []))


if __name__ == "__main__":
    main(sys.argv[1:])
