"""A block in, features out: banks of filters, their fitting, and what they cost."""

from pipeline.network.bank import Bank
from pipeline.network.cost import Layer, describe
from pipeline.network.factored import features_mosaic
from pipeline.network.features import features_block
from pipeline.network.fit import BANKS, fit_bank, fitting_bytes
from pipeline.network.pieces import Mosaic, Piece

__all__ = [
    "BANKS",
    "Bank",
    "Layer",
    "Mosaic",
    "Piece",
    "describe",
    "features_block",
    "features_mosaic",
    "fit_bank",
    "fitting_bytes",
]
