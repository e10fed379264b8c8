"""A block in, bytes out: chunks of the `terrasketch.lowrank` codec.

    data = encode(block, valid, Bound("snr", 40.0), nodata=0)
    block, valid = decode(data)

The Zarr v3 codec is pipeline.codec.zarr_codec:LowRankCodec, found by its entry point; nothing here imports zarr.
"""

from __future__ import annotations

from pipeline.codec.bound import MODES, Bound
from pipeline.codec.chunk import decode, encode
from pipeline.codec.container import PREFIX, TAIL, Figures, Header, MaskKind, check, read_figures, read_header
from pipeline.codec.factors import Factors, decode_factors, factored_rank
from pipeline.codec.storable import EFFORTS

__all__ = [
    "EFFORTS",
    "MODES",
    "PREFIX",
    "TAIL",
    "Bound",
    "Factors",
    "Figures",
    "Header",
    "MaskKind",
    "check",
    "decode",
    "decode_factors",
    "encode",
    "factored_rank",
    "read_figures",
    "read_header",
]
