"""The talk's first chapter: singular value decompositions, randomized where that is quicker."""

from __future__ import annotations

from pipeline.svd.dispatch import svd

__all__ = ["svd"]
