"""What features are worth: land cover of Indian Pines from spectra, with and without them, and after denoising.

Blocks of BLOCK x BLOCK pixels are dealt to FOLDS folds, from an origin and in an order of each seed. A fold is
predicted from the others, less the pixels within GAP of it: no training pixel's receptive field reaches a test block.
The ridge's parameter is chosen in the same way, gap included, within the training blocks, by every row for itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.ndimage import maximum_filter
from threadpoolctl import threadpool_limits

from benchmarks.noises import DATA
from benchmarks.tables import print_table
from pipeline import denoise, features
from pipeline.grid import Window
from pipeline.network import fit
from sample_data.generator import Settings, scene_block

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
Labels = NDArray[np.intp]

SEEDS, BLOCK, GAP, FOLDS = 8, 16, 5, 4
ALPHAS = 10.0 ** np.arange(-2, 6)
SIGMAS = (0.05, 0.1)
DEFAULT = "rcf-mixed"
OTHERS = ("mosaiks-paper", "torchgeo-rcf", "torchgeo-rcf-empirical")
# Their filters see more than 3 x 3 pixels: a smaller pool keeps their receptive field within GAP.
POOLS = {"random-2layer": 3, "classic": 5}


def main(smoke: bool) -> None:
    """Two tables, of the scene as it is and with noise: mean accuracy over the seeds, and the gains seed by seed."""
    cube, classes = generated() if smoke else indian_pines()
    seeds = 2 if smoke else SEEDS
    side = "a generated scene" if smoke else "Indian Pines"
    print(f"{side}, {int((classes > 0).sum())} labelled pixels, ridge, {FOLDS} folds of blocks of {BLOCK}, gap {GAP}\n")
    with threadpool_limits(1):
        print_gains(clean_rows(cube, smoke), classes, seeds, 5)
        for sigma in SIGMAS[:1] if smoke else SIGMAS:
            print(f"\nnoise added: gaussian, {sigma} of each band's range\n")
            print_gains(noisy_rows(cube, sigma, smoke), classes, seeds, 10)


def indian_pines() -> tuple[F32, Labels]:
    """The cube (200, 145, 145), and its classes (145, 145), 0 where there is no label."""
    with rasterio.open(DATA / "aviris_indian_pines_200band_20m.tif") as file:
        cube = file.read().astype(np.float32)
    with rasterio.open(DATA / "aviris_indian_pines_gt.tif") as file:
        return cube, file.read(1).astype(np.intp)


def generated() -> tuple[F32, Labels]:
    """A scene of 18 bands without noise of its own, in three classes of brightness."""
    settings = Settings(height=90, width=90, bands=18, seed=4, dtype="float32")
    truth = scene_block(Window(0, 90, 0, 90), settings)[0]
    return truth, np.digitize(truth.mean(axis=0), np.quantile(truth.mean(axis=0), [0.3, 0.6])) + 1


def clean_rows(cube: F32, smoke: bool) -> list[tuple[str, F32]]:
    """Name and columns (column, y, x) of what a ridge is to see: spectra alone first, then with each bank."""
    rows = [("spectra", cube), (f"+ {DEFAULT}", beside(cube, DEFAULT))]
    if smoke:
        return rows
    rows += [(f"+ {bank}", beside(cube, bank)) for bank in OTHERS]
    rows += [(f"+ random-2layer, pool {POOLS['random-2layer']}", beside(cube, "random-2layer"))]
    tenth = np.concatenate([cube, features_of(cube[::10], "classic")])
    rows += [(f"+ classic of every tenth band, pool {POOLS['classic']}", tenth)]
    return [*rows, (f"+ {DEFAULT}, not projected", unprojected(cube))]


def noisy_rows(cube: F32, sigma: float, smoke: bool) -> list[tuple[str, F32]]:
    """The same of the cube with noise: as it is first, then denoised, then with features."""
    spread = np.ptp(cube, axis=(1, 2))[:, None, None]
    noise = np.random.default_rng(0).standard_normal(cube.shape)
    noisy = (cube + sigma * spread * noise).astype(np.float32)
    rows = [("noisy spectra", noisy)]
    for quality in ("fast",) if smoke else ("fast", "quality"):
        rows.append((f"denoised first ({quality})", denoise(scene_of(noisy), quality=quality).values))
    return [
        *rows,
        (f"noisy + {DEFAULT}", beside(noisy, DEFAULT)),
        (f"denoised first + {DEFAULT}", beside(rows[-1][1], DEFAULT)),
    ]


def scene_of(cube: F32) -> xr.DataArray:
    """The cube as people hold it."""
    return xr.DataArray(cube, dims=("band", "y", "x"))


def features_of(cube: F32, bank: str) -> F32:
    """What `terrasketch features` gives for a bank's name, with its defaults, or its pool of POOLS."""
    found: F32 = features(scene_of(cube), bank, pool=POOLS.get(bank)).values
    return found


def beside(cube: F32, bank: str) -> F32:
    """Spectra, then features."""
    return np.concatenate([cube, features_of(cube, bank)])


def unprojected(cube: F32) -> F32:
    """The default bank, its filters over all bands: what projecting costs."""
    most, fit.MOST_SEEN = fit.MOST_SEEN, len(cube)
    try:
        return beside(cube, DEFAULT)
    finally:
        fit.MOST_SEEN = most


def print_gains(rows: Sequence[tuple[str, F32]], classes: Labels, seeds: int, goal: float) -> None:
    """A row each; gains are over the first row, seed by seed."""
    lines: list[list[object]] = []
    first: F64 | None = None
    for name, columns in rows:
        start = time.process_time()
        scores = np.array([accuracy(columns, classes, seed) for seed in range(seeds)])
        first = scores if first is None else first
        gain = scores - first
        gains = (
            [f"{gain.mean():+.1f}", f"{gain.min():+.1f}", f"{int((gain >= goal).sum())} of {seeds}"]
            if lines
            else [""] * 3
        )
        lines.append([name, len(columns), f"{scores.mean():.1f}", f"{scores.min():.1f} ... {scores.max():.1f}", *gains])
        lines[-1].append(f"{(time.process_time() - start) / seeds:.1f}")
    print_table(
        ["input", "columns", "accuracy %", "over seeds", "gain", "least", f"seeds >= {goal:g}", "CPU s a seed"], lines
    )


def accuracy(columns: F32, classes: Labels, seed: int) -> float:
    """Overall accuracy, %, of all labelled pixels, each predicted when its fold is left out."""
    folds, labelled = dealt(classes.shape, seed), classes > 0
    right = 0
    for fold in range(FOLDS):
        test = folds == fold
        train = labelled & apart(test)
        alpha = chosen(columns, classes, folds, train, fold)
        right += sum(hits(columns, classes, train, test & labelled, [alpha]))
    return 100 * right / int(labelled.sum())


def chosen(columns: F32, classes: Labels, folds: Labels, train: Mask, left_out: int) -> float:
    """The parameter with the most hits when each other fold is predicted from the rest of the training pixels."""
    score = np.zeros(len(ALPHAS))
    for fold in set(range(FOLDS)) - {left_out}:
        test = folds == fold
        score += hits(columns, classes, train & apart(test), train & test, ALPHAS)
    return float(ALPHAS[score.argmax()])


def dealt(shape: tuple[int, int], seed: int) -> Labels:
    """The fold (y, x) of each pixel."""
    rng = np.random.default_rng([seed, BLOCK])
    rows, columns = ((np.arange(side) + rng.integers(BLOCK)) // BLOCK for side in shape)
    blocks = rows[:, None] * (columns.max() + 1) + columns
    return (rng.permutation(blocks.max() + 1) % FOLDS)[blocks]


def apart(test: Mask) -> Mask:
    """Pixels further than GAP from every test pixel, along both axes."""
    return maximum_filter(test, 2 * GAP + 1) == 0


def hits(columns: F32, classes: Labels, train: Mask, test: Mask, alphas: Sequence[float] | F64) -> list[int]:
    """How many test pixels get their own class, for each parameter: ridge on ±1 for each class, columns z-scored."""
    seen = np.unique(classes[train])
    X, T = (columns[:, mask].T.astype(np.float64) for mask in (train, test))
    mean, std = X.mean(axis=0), X.std(axis=0)
    X, T = ((part - mean) / np.where(std > 0, std, 1.0) for part in (X, T))
    Y = np.where(classes[train][:, None] == seen, 1.0, -1.0)
    level = Y.mean(axis=0)
    found = []
    for W in ridges(X, Y - level, alphas):
        found.append(int((seen[(T @ W + level).argmax(axis=1)] == classes[test]).sum()))
    return found


def ridges(X: F64, Y: F64, alphas: Sequence[float] | F64) -> list[F64]:
    """(XᵀX + αI)⁻¹XᵀY for each α: X (n, d) centred, Y (n, k)."""
    G, R = X.T @ X, X.T @ Y
    return [cho_solve(cho_factor(G + alpha * np.eye(len(G)), overwrite_a=True), R) for alpha in alphas]
