"""What answers from features are worth: ships found, places like this one, groups and classes on blocks not seen.

Ships are implanted in the sample's sea (benchmarks/ships.py). The rest is land cover of Indian Pines, whose classes are
known: figures are of spectra, and of the default bank's features. Blocks and gap are those of `benchmarks features`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from benchmarks.features import BLOCK, DEFAULT, FOLDS, GAP, dealt, features_of, generated, indian_pines, scene_of
from benchmarks.ships import SHIPS, area_under_curve, implanted, open_sea
from benchmarks.tables import print_table
from pipeline import denoise
from pipeline.answers import Annulus, Anomaly, Background, Groups, Moments, Scaling, Water
from pipeline.answers.similar import unit
from pipeline.flow.labels import Labelled
from pipeline.flow.regress import Validation, judge
from pipeline.flow.threads import one_blas_thread

F32 = NDArray[np.float32]
Labels = NDArray[np.intp]

SAMPLE = Path(__file__).parents[1] / "sample_data" / "s2_18SVG_crop_10band_20m.tif"
SEEDS, TOP, GROUPS = 3, 10, (16, 32)
WATER = Water(1, 6)


def main(smoke: bool) -> None:
    """Four tables."""
    with threadpool_limits(1):
        ships(smoke)
        cube, classes = generated() if smoke else indian_pines()
        inputs = {"spectra": cube, f"features of {DEFAULT}": features_of(cube, DEFAULT)}
        seeds = range(1 if smoke else SEEDS)
        lines = [
            [name, *(f"{precision(rows, classes, gap):.3f}" for gap in (-1, 0, GAP))] for name, rows in inputs.items()
        ]
        print(f"\nsimilar: share of the {TOP} most similar labelled pixels that are of the pixel's own class\n")
        print_table(["input", "all others", f"not of its {BLOCK} x {BLOCK} block", f"nor within {GAP} pixels"], lines)
        print(
            f"\ncluster: groups learnt on {FOLDS - 1} of {FOLDS} folds and named there, judged on the other; "
            f"{len(seeds)} seeds\n"
        )
        counts = (3,) if smoke else GROUPS
        lines = [[name, k, *grouped(rows, classes, k, seeds)] for name, rows in inputs.items() for k in counts]
        print_table(["input", "groups", "adjusted Rand index", "accuracy %, of the most frequent class"], lines)
        print(f"\nregress: {FOLDS} folds of blocks of {BLOCK}, gap {GAP}; {len(seeds)} seeds\n")
        lines = [[name, *regressed(rows, classes, seeds)] for name, rows in inputs.items()]
        print_table(["input", "accuracy %", "mean of the classes %", "kappa"], lines)


def ships(smoke: bool) -> None:
    """The area under the curve over the sea, with and without water told apart, before denoising and after."""
    with rasterio.open(SAMPLE) as file:
        scene = file.read()
    scene = scene[:, 240:, 240:] if smoke else scene
    sea, count = open_sea(scene), 5 if smoke else SHIPS
    lines: list[list[object]] = []
    for kind, contrast in (("brighter", 0.6), ("mixed", 0.6), ("brighter", 0.1)):
        found = []
        for seed in range(1 if smoke else SEEDS):
            there, covered = implanted(scene, sea, kind, seed, contrast, count)
            clean = there if smoke else denoise(scene_of(there), quality="fast").values
            found.append(
                [
                    area_under_curve(scores(image, water), covered, sea)
                    for image in (there, clean)
                    for water in (None, WATER)
                ]
            )
        figures = np.array(found).T
        lines.append([kind, contrast, *(f"{own.min():.4f} ... {own.max():.4f}" for own in figures)])
    print(f"anomaly: {count} ships of 2 x 2 pixels in the sample's sea, AUC of {1 if smoke else SEEDS} seeds\n")
    print_table(["ship", "contrast", "as it is", "with --water", "denoised", "denoised, with --water"], lines)


def scores(scene: NDArray[np.generic], water: Water | None) -> F32:
    """The scores (y, x) of a scene in one tile, with the default window."""
    background, valid = Background(Annulus(21, 7), water), np.ones(scene.shape[1:], bool)
    block = scene.astype(np.float32)
    moments = Moments.of(block, valid, background, (slice(None), slice(None)))
    return Anomaly.fit(moments, background).answer(block, valid)[0]


def precision(columns: F32, classes: Labels, gap: int, most: int = 3000) -> float:
    """Precision of the TOP most similar labelled pixels, a mean over at most `most` labelled pixels, seeded.

    gap −1: every other pixel may be found; 0: none of the pixel's own block; more: nor any nearer than that.
    """
    ys, xs = np.nonzero(classes > 0)
    own = classes[ys, xs]
    rows = unit(Scaling.of(columns.reshape(len(columns), -1).T).rows(columns[:, ys, xs].T))
    asked = np.sort(np.random.default_rng(0).choice(len(ys), min(most, len(ys)), replace=False))
    hits = 0
    for part in np.array_split(asked, max(1, len(asked) // 500)):
        cosine = rows[part] @ rows.T
        cosine[np.arange(len(part)), part] = -2
        if gap >= 0:
            y, x = ys[part][:, None], xs[part][:, None]
            cosine[(y // BLOCK == ys // BLOCK) & (x // BLOCK == xs // BLOCK)] = -2
            cosine[np.maximum(abs(y - ys), abs(x - xs)) <= gap] = -2
        top = np.argsort(-cosine, axis=1, kind="stable")[:, :TOP]
        hits += int((own[top] == own[part][:, None]).sum())
    return hits / (TOP * len(asked))


def grouped(columns: F32, classes: Labels, count: int, seeds: range) -> list[str]:
    """Groups of the labelled pixels of all folds but one: how well they and their names fit the classes of that one."""
    rand, right = [], []
    ys, xs = np.nonzero(classes > 0)
    rows, own = columns[:, ys, xs].T, classes[ys, xs]
    for seed in seeds:
        fold = dealt(classes.shape, seed)[ys, xs]
        hits = 0
        for left_out in range(FOLDS):
            train, test = fold != left_out, fold == left_out
            model = Groups.fit(np.ascontiguousarray(rows[train]), count, seed)
            told = model.answer(rows.T[:, :, None], np.ones((len(rows), 1), bool))[0, :, 0]
            named = np.zeros(count + 1, np.intp)
            for number in range(1, count + 1):
                named[number] = np.bincount(own[train & (told == number)], minlength=1).argmax()
            hits += int((named[told[test]] == own[test]).sum())
            rand.append(adjusted_rand_score(own[test], told[test]))
        right.append(100 * hits / len(own))
    return [f"{np.mean(rand):.3f}", f"{np.mean(right):.1f}"]


def regressed(columns: F32, classes: Labels, seeds: range) -> list[str]:
    """What `regress` reports where every labelled pixel is a place."""
    ys, xs = np.nonzero(classes > 0)
    names, own = np.unique(classes[ys, xs], return_inverse=True)
    rows = np.ascontiguousarray(columns[:, ys, xs].T)
    place, none = np.arange(len(ys)), np.zeros(len(ys), bool)
    data = Labelled(rows, own.astype(np.intp), ys, xs, place, place, tuple(map(str, names)), none)
    with one_blas_thread():
        found = [judge(data, Validation(BLOCK, GAP, FOLDS, seed))[0]["overall"] for seed in seeds]
    accuracy, mean, kappa = (
        np.mean([one[word] for one in found]) for word in ("accuracy", "mean_class_accuracy", "kappa")
    )
    return [f"{100 * accuracy:.1f}", f"{100 * mean:.1f}", f"{kappa:.3f}"]
