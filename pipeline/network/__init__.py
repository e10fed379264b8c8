"""A block in, features out: banks of filters, their fitting, and what they cost."""

from pipeline.network.bank import Bank
from pipeline.network.cost import Layer, describe
from pipeline.network.features import features_block
from pipeline.network.fit import BANKS, fit_bank, fitting_bytes

__all__ = ["BANKS", "Bank", "Layer", "describe", "features_block", "fit_bank", "fitting_bytes"]
