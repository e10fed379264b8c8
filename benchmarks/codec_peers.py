"""Our codec beside its peers: bytes at the same promise, whole chunks counted, and the speed both ways."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from statistics import mean, median
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.codec_rivals import Rival, rivals
from benchmarks.codec_search import Block, Coded, keeps
from benchmarks.scene import FULL, SAMPLE
from benchmarks.tables import print_table
from pipeline.codec import EFFORTS, Bound, decode, encode
from pipeline.flow.read import central_window, open_scene

BOUNDS = (Bound("snr", 30.0), Bound("snr", 40.0), Bound("snr", 50.0), Bound("max_error", 1.0), Bound("lossless"))
TIMED = (Bound("snr", 40.0), Bound("lossless"))
# At most so much CPU goes into one figure of speed, the first run aside.
PATIENCE = 1.0
SLOW = ("SZ3", "LERC", "ZFP")
MULTI, HYPER = "multispectral", "hyperspectral"


class Scene(NamedTuple):
    """One row set: blocks (band, y, x), a chunk each; their bytes are summed."""

    name: str
    kind: str
    blocks: list[Block]

    @property
    def elements(self) -> int:
        return sum(block.size for block in self.blocks)

    @property
    def nbytes(self) -> int:
        return sum(block.nbytes for block in self.blocks)


def main(smoke: bool) -> None:
    """A row a scene and bound; then what the rivals chose, the speeds, and our lead in sum."""
    found, missing = rivals()
    if missing:
        print(f"Left out, not installed (`pip install .[bench]`): {', '.join(missing)}\n")
    coders: dict[str, Rival] = {f"ours, {effort}": ours(effort) for effort in EFFORTS} | found
    ratios: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    settings, speeds = [], []
    heads = [f"{effort}, bits" for effort in EFFORTS] + [f"ours, {effort}" for effort in EFFORTS]
    print_table(["scene", "bound", *heads, *(word for name in found for word in (name, "best less it"))], [])
    with threadpool_limits(1):
        for scene in scenes(smoke):
            for bound in TIMED if smoke else BOUNDS:
                made = {name: stored(coder, scene, bound) for name, coder in coders.items()}
                print("| " + " | ".join(row(scene, bound, made)) + " |", flush=True)
                best = total(made[f"ours, {EFFORTS[-1]}"])
                for name in coders:
                    if made[name]:
                        ratios[name, scene.kind, str(bound)].append(best / total(made[name]))
                settings.append([scene.name, str(bound), *(chosen(made[name]) for name in found)])
                if bound in TIMED:
                    speeds += [speed(scene, bound, name, made[name]) for name in coders if timed(name, made[name])]
    print("\nWhat each rival was best at:\n")
    print_table(["scene", "bound", *found], settings)
    print("\nMB of input per CPU second, one thread, at the settings above, no search counted:\n")
    print_table(["scene", "bound", "codec", "encode MB/s", "decode MB/s"], speeds)
    print(f"\nOurs, {EFFORTS[-1]}, less each in bytes, geometric mean over the scenes of a kind:\n")
    print_table(["against", "scenes", *map(str, BOUNDS)], summary(list(coders), ratios))


def scenes(smoke: bool) -> list[Scene]:
    """The middle 512 x 512 pixels of each, or all of it where it is smaller; the sample alone where no data is."""
    if smoke or not FULL.is_file():
        return [Scene("sample", MULTI, [middle(SAMPLE, 64 if smoke else 512)])]
    small = sorted((FULL.parent / "s2_L1C_5scenes_13band").glob("*.tif"))
    return [
        Scene("Sentinel-2", MULTI, [middle(FULL, 512)]),
        Scene("Landsat 8", MULTI, [middle(FULL.with_name("LC80200392015216LGN00_10band_30m.tif"), 512)]),
        Scene(f"Sentinel-2, 13 bands, {len(small)} scenes", MULTI, [middle(path, 512) for path in small]),
        Scene("Indian Pines", HYPER, [middle(FULL.with_name("aviris_indian_pines_200band_20m.tif"), 512)]),
    ]


def middle(path: object, side: int) -> Block:
    """All its values count, none is a hole."""
    source = open_scene(str(path))
    block, _ = source.read(central_window(source, side))
    return np.ascontiguousarray(block)


def ours(effort: str) -> Rival:
    """Our codec in the rivals' clothes."""

    def code(block: Block, bound: Bound) -> Coded:
        data = encode(block, None, bound, effort=effort)
        return Coded(
            len(data),
            decode(data)[0],
            effort,
            lambda: encode(block, None, bound, effort=effort),
            lambda: decode(data)[0],
        )

    return code


def stored(coder: Rival, scene: Scene, bound: Bound) -> list[Coded]:
    """Each block of the scene; empty where the coder has no way to keep the bound, or does not meet it."""
    made = []
    for block in scene.blocks:
        coded = coder(block, bound)
        if coded is None:
            return []
        assert keeps(block, coded.decode(), bound), f"{coded.setting} does not keep {bound}"
        made.append(coded)
    return made


def total(made: list[Coded]) -> int:
    return sum(one.nbytes for one in made)


def row(scene: Scene, bound: Bound, made: dict[str, list[Coded]]) -> list[str]:
    """Bits per pixel and band of ours, then bytes of all, with our lead after each rival's."""
    own = [total(made[f"ours, {effort}"]) for effort in EFFORTS]
    cells = [scene.name, str(bound), *(f"{8 * size / scene.elements:.3f}" for size in own), *map(str, own)]
    for name in list(made)[len(EFFORTS) :]:
        size = total(made[name])
        cells += [str(size), percent(own[-1] / size)] if size else ["–", "–"]
    return cells


def percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def chosen(made: list[Coded]) -> str:
    """The settings, each once."""
    return "; ".join(dict.fromkeys(one.setting for one in made)) or "–"


def timed(name: str, made: list[Coded]) -> bool:
    """Ours, JPEG 2000 and JPEG XL, where they have something to show."""
    return bool(made) and name not in SLOW


def speed(scene: Scene, bound: Bound, name: str, made: list[Coded]) -> list[object]:
    """MB of input per CPU second, both ways."""
    there = seconds(lambda: [one.encode() for one in made])
    back = seconds(lambda: [one.decode() for one in made])
    label = name if name.startswith("ours") else f"{name}, {chosen(made)}"
    return [scene.name, str(bound), label, *(f"{scene.nbytes / 1e6 / took:.3g}" for took in (there, back))]


def seconds(work: Callable[[], object]) -> float:
    """Median CPU seconds of up to three runs; each coder has run before."""
    times: list[float] = []
    while len(times) < 3 and sum(times) <= PATIENCE:
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return max(median(times), 1e-6)


def summary(names: list[str], ratios: dict[tuple[str, str, str], list[float]]) -> list[list[str]]:
    """A line a rival and kind of scene, a column a bound; the last of ours is what the others are held to."""
    lines = []
    for name in names:
        for kind in (MULTI, HYPER):
            cells = [ratios.get((name, kind, str(bound)), []) for bound in BOUNDS]
            if name != f"ours, {EFFORTS[-1]}" and any(cells):
                leads = (percent(math.exp(mean(map(math.log, cell)))) if cell else "–" for cell in cells)
                lines.append([name, kind, *leads])
    return lines
