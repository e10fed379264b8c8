"""Bands of classes and flags, told by their names: their numbers are words, and the mean of two is a third word."""

from __future__ import annotations

import re

_CLASSES = re.compile(r"(?<![a-z0-9])(scl|b?qa\d*|qc|c?fmask|mask|lulc|class(es|ification)?|classi)(?![a-z0-9])")


def is_classes(name: str) -> bool:
    """True for SCL, QA_PIXEL, QA60, SR_QA_AEROSOL, Fmask, MSK_CLASSI_B00 and their like."""
    return _CLASSES.search(name.lower()) is not None
