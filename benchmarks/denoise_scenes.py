"""Denoising real scenes with known added noise: ours finds noise and rank by itself, the rivals are told the truth."""

from __future__ import annotations

import time
from statistics import mean, median

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.denoise_peers import Rival, rivals
from benchmarks.noises import F32, KINDS, noisy, psnr, scenes
from benchmarks.tables import print_table
from pipeline.denoise import denoise_block, estimate_noise

SEEDS = 5
# The rivals see the first seed alone: one pass of theirs is a hundred of ours. BM4D sees one kind of noise.
BM4D_KIND = "iid .05"
HEAD = ["scene", "noise", "noisy", "fast", "quality", "sigma found / true", "CPU s fast", "quality"]


def main(smoke: bool) -> None:
    """One row a scene and noise: mean PSNR over seeds, sigma, CPU; the rivals on seed 0, and ours less theirs."""
    peers, seeds = rivals(), 1 if smoke else SEEDS
    for name in {"FastHyDe + BM3D": "bm3d", "BM4D": "bm4d"}.keys() - peers.keys():
        print(f"Left out, not installed: {name}")
    columns = [word for name in peers for word in (name, "quality less it", "CPU s", "times")]
    print_table([*HEAD, *columns], [])
    lead: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
    with threadpool_limits(1):
        for name, truth in scenes(smoke).items():
            own = estimate_noise(truth, np.ones(truth.shape[1:], np.bool_))
            warm = truth[:, :48, :48]
            for quality in ("fast", "quality"):
                denoise_block(warm, np.ones(warm.shape[1:], np.bool_), quality=quality)
            for kind in KINDS:
                cells = row(name, kind, truth, own, peers, seeds, lead)
                print("| " + " | ".join(cells) + " |", flush=True)
    for name, pairs in lead.items():
        if pairs:
            gains, times = zip(*pairs, strict=True)
            print(f"\n{name}: quality less it {mean(gains):+.2f} dB (least {min(gains):+.2f}), ", end="")
            print(f"its CPU over ours: median {median(times):.0f}, least {min(times):.0f}")


def clean(smoke: bool) -> None:
    """Scenes as they came: root mean square of what `fast` takes from them over the sigma it found, by band."""
    print_table(["scene", "median band", "most"], [change(name, truth) for name, truth in scenes(smoke).items()])


def row(
    name: str,
    kind: str,
    truth: F32,
    own: np.ndarray,
    peers: dict[str, Rival],
    seeds: int,
    lead: dict[str, list[tuple[float, float]]],
) -> list[str]:
    """One row; what the rivals lose goes to `lead`."""
    before, after, ratios, seconds = [], [], [], []
    valid = np.ones(truth.shape[1:], np.bool_)
    for seed in range(seeds):
        scene = noisy(truth, kind, seed)
        results, spent = zip(*(timed(scene.block, valid, quality) for quality in ("fast", "quality")), strict=True)
        before.append(psnr(truth, scene.block))
        after.append([psnr(truth, result.block) for result in results])
        ratios.append(results[0].sigma / np.hypot(scene.sigma, own))
        seconds.append(spent)
    fast, quality = np.mean(after, axis=0)
    cells = [name, kind, f"{mean(before):.2f}", f"{fast:.2f}", f"{quality:.2f}"]
    cells.append("{:.2f} {:.2f} {:.2f}".format(*np.quantile(ratios, [0, 0.5, 1])))
    spent = np.median(seconds, axis=0)
    cells += [f"{spent[0]:.2f}", f"{spent[1]:.2f}"]
    for rival, denoise in peers.items():
        if rival == "BM4D" and kind != BM4D_KIND:
            cells += ["", "", "", ""]
            continue
        scene = noisy(truth, kind, 0)
        start = time.process_time()
        theirs = psnr(truth, denoise(scene, kind == "Poisson"))
        times = (time.process_time() - start) / spent[1]
        lead[rival].append((after[0][1] - theirs, times))
        cells += [f"{theirs:.2f}", f"{after[0][1] - theirs:+.2f}", f"{times * spent[1]:.1f}", f"{times:.0f}"]
    return cells


def change(name: str, truth: F32) -> list[object]:
    """A scene as it came: what `fast` takes from it, in units of the noise it found."""
    result = denoise_block(truth, np.ones(truth.shape[1:], np.bool_))
    taken = np.sqrt(np.mean((result.block.astype(np.float64) - truth) ** 2, axis=(1, 2)))
    shares = taken[result.sigma > 0] / result.sigma[result.sigma > 0] if result.sigma.any() else np.zeros(1)
    return [name, f"{np.median(shares):.2f}", f"{np.max(shares):.2f}"]


def timed(block: F32, valid: np.ndarray, quality: str) -> tuple[object, float]:
    """The result, and CPU seconds."""
    start = time.process_time()
    result = denoise_block(block, valid, quality=quality)
    return result, time.process_time() - start
