"""Denoising real scenes with known added noise: ours finds noise and rank by itself, the rivals are told the truth."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import mean, median

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.denoise_peers import Rival, rivals
from benchmarks.noises import F32, F64, KINDS, noisy, own_noise, psnr, scenes
from benchmarks.tables import print_table
from pipeline.denoise import denoise_block

SEEDS = 5
# A pass of BM4D is a thousand of ours: it sees one kind of noise, and that once.
BM4D_KIND = "iid .05"
HEAD = ["scene", "noise", "noisy", "fast", "quality", "sigma / own + added", "/ added", "CPU s fast", "quality"]
DEFECTS = "stripes + impulses"


def main(smoke: bool) -> None:
    """One row a scene and noise: mean PSNR over seeds, sigma, CPU; the rivals, and ours less theirs."""
    peers, seeds = rivals(), 1 if smoke else SEEDS
    for name in {"FastHyDe + BM3D": "bm3d", "BM4D": "bm4d"}.keys() - peers.keys():
        print(f"Left out, not installed: {name}")
    columns = [word for name in peers for word in (name, "quality less it", "CPU s", "times")]
    print_table([*HEAD, *columns], [])
    tally = Tally([], {name: [] for name in peers})
    with threadpool_limits(1):
        for name, truth in scenes(smoke).items():
            own = own_noise(truth)
            warm = truth[:, :48, :48]
            for quality in ("fast", "quality"):
                denoise_block(warm, np.ones(warm.shape[1:], np.bool_), quality=quality)
            for kind in KINDS:
                cells = row(name, kind, truth, own, peers, seeds, tally)
                print("| " + " | ".join(cells) + " |", flush=True)
    tally.print()


@dataclass
class Tally:
    """What the rows add up to."""

    ratios: list[F64]
    """Sigma found over own and added, (band,) for each scene, noise and seed."""
    leads: dict[str, list[tuple[str, float, float]]]
    """Noise, PSNR of `quality` less the rival's, the rival's CPU over ours."""

    def print(self) -> None:
        """A line on sigma, and for each rival one on noise alone and one on noise with defects."""
        ratios = np.concatenate(self.ratios)
        print(f"\nsigma within 10 %: {100 * np.mean(np.abs(ratios - 1) <= 0.1):.1f} % of {ratios.size} bands")
        for name, rows in self.leads.items():
            for defects in (False, True):
                chosen = [(gain, times) for kind, gain, times in rows if (kind == DEFECTS) == defects]
                if chosen:
                    gains, times = zip(*chosen, strict=True)
                    with_defects = f" with {DEFECTS}" if defects else ""
                    print(
                        f"{name}{with_defects}, {len(chosen)} cases: quality less it {mean(gains):+.2f} dB "
                        f"({min(gains):+.2f} to {max(gains):+.2f}), "
                        f"its CPU over ours {median(times):.0f} ({min(times):.0f} to {max(times):.0f})"
                    )


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
    tally: Tally,
) -> list[str]:
    """One row; what it adds up to goes to `tally`."""
    before, after, ratios, added, seconds = [], [], [], [], []
    valid = np.ones(truth.shape[1:], np.bool_)
    for seed in range(seeds):
        scene = noisy(truth, kind, seed)
        results, spent = zip(*(timed(scene.block, valid, quality) for quality in ("fast", "quality")), strict=True)
        before.append(psnr(truth, scene.block))
        after.append([psnr(truth, result.block) for result in results])
        ratios.append(results[0].sigma / np.hypot(scene.sigma, own))
        added.append(results[0].sigma / scene.sigma)
        seconds.append(spent)
    fast, quality = np.mean(after, axis=0)
    cells = [name, kind, f"{mean(before):.2f}", f"{fast:.2f}", f"{quality:.2f}"]
    cells += ["{:.2f} {:.2f} {:.2f}".format(*np.quantile(part, [0, 0.5, 1])) for part in (ratios, added)]
    tally.ratios += ratios
    spent = np.median(seconds, axis=0)
    cells += [f"{spent[0]:.2f}", f"{spent[1]:.2f}"]
    for rival, denoise in peers.items():
        if rival == "BM4D" and kind != BM4D_KIND:
            cells += ["", "", "", ""]
            continue
        once = rival == "BM4D" or kind == DEFECTS
        theirs, cpu = told(denoise, kind, truth, 1 if once else seeds)
        lead = mean(mine[1] for mine in after[: len(theirs)]) - mean(theirs)
        times = median(long / short[1] for long, short in zip(cpu, seconds, strict=False))
        tally.leads[rival].append((kind, lead, times))
        cells += [f"{mean(theirs):.2f}", f"{lead:+.2f}", f"{median(cpu):.1f}", f"{times:.0f}"]
    return cells


def told(denoise: Rival, kind: str, truth: F32, seeds: int) -> tuple[list[float], list[float]]:
    """PSNR and CPU seconds of a rival on each seed. Where there are defects, which it does not treat, one is enough."""
    found, seconds = [], []
    for seed in range(seeds):
        scene = noisy(truth, kind, seed)
        start = time.process_time()
        block = denoise(scene, kind == "Poisson")
        seconds.append(time.process_time() - start)
        found.append(psnr(truth, block))
    return found, seconds


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
