"""The ONNX project's own backend cases, out of its wheel: one small model each, with inputs and expected outputs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnx.backend.test
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from pipeline.network.operators import OPERATORS

KINDS = {TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.UINT8}
MOST_AXES = 4
QUIET = {"Constant", "ConstantOfShape", "Identity"}


class Case(NamedTuple):
    """A model, what goes in, what must come out, and how near."""

    name: str
    model: ModelProto
    sets: list[tuple[list[np.ndarray], list[np.ndarray]]]
    rtol: float
    atol: float


@cache
def cases() -> dict[str, list[Case]]:
    """Those whose operators and types are ours, by operator; training apart."""
    found: dict[str, list[Case]] = {op: [] for op in OPERATORS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in (*_generated(), *_stored("pytorch-converted"), *_stored("pytorch-operator")):
            if "training" not in case.name and _is_ours(case.model):
                for op in {node.op_type for node in case.model.graph.node}:
                    found[op].append(case)
    return found


def _generated() -> Iterator[Case]:
    for case in collect_testcases(None):
        if case.model is not None:
            yield Case(case.name, case.model, case.data_sets, case.rtol, case.atol)


def _stored(kind: str) -> Iterator[Case]:
    for folder in sorted((Path(onnx.backend.test.__file__).parent / "data" / kind).iterdir()):
        sets = [(_arrays(one, "input"), _arrays(one, "output")) for one in sorted(folder.glob("test_data_set_*"))]
        yield Case(folder.name, onnx.load(folder / "model.onnx"), sets, 1e-3, 1e-7)


def _arrays(folder: Path, kind: str) -> list[np.ndarray]:
    count = len(list(folder.glob(f"{kind}_*.pb")))
    contents = ((folder / f"{kind}_{i}.pb").read_bytes() for i in range(count))
    return [numpy_helper.to_array(TensorProto.FromString(content)) for content in contents]


def _is_ours(model: ModelProto) -> bool:
    graph = model.graph
    if not graph.node or model.functions or any(n.domain or n.op_type not in OPERATORS for n in graph.node):
        return False
    kinds = [value.type.tensor_type for value in (*graph.input, *graph.output)]
    if any(not kind.elem_type or kind.elem_type not in KINDS or len(kind.shape.dim) > MOST_AXES for kind in kinds):
        return False
    return any(kind.elem_type == TensorProto.FLOAT for kind in kinds)
