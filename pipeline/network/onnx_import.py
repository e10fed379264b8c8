"""An ONNX file becomes a Graph of ours: checked, cut to what is wanted, constants and batch norms folded.

Format: onnx.proto3 (https://onnx.ai/onnx/repo-docs/IR.html). A file is never trusted: operators, attributes, element
types and domains that are not supported are refused by name, and no other file is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto

from pipeline.errors import ModelError
from pipeline.network import onnx_wire
from pipeline.network.execute import Network
from pipeline.network.graph import Graph, Node
from pipeline.network.onnx_fold import fold
from pipeline.network.onnx_schema import NEWEST_OPSET, problem, refusing_integers
from pipeline.network.onnx_tensor import array, attribute, dtype_of
from pipeline.network.operators import DAMAGE, OPERATORS

DEFAULT_DOMAINS = ("", "ai.onnx")
MOST_FILE_BYTES = 1 << 30
MOST_NODES = 100_000


def load(path: str | Path, outputs: Sequence[str] | None = None) -> Graph:
    """Read the network in the file `path`; with `outputs`, the part that makes those tensors, named as in the file.

    Raises ModelError, in one line that names the file, for a file that is not a whole model, or not a supported one.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise ModelError("it is a directory, or no file at all")
        if Path(path).stat().st_size > MOST_FILE_BYTES:
            raise ModelError(f"it is larger than {MOST_FILE_BYTES >> 20} MiB")
        content = Path(path).read_bytes()
        onnx_wire.check(content)
        return read(onnx.load_model_from_string(content), outputs)
    except OSError as error:
        raise ModelError(f"cannot read the network {path}: {error.strerror}; give the path of an ONNX model") from error
    except DecodeError as error:
        raise ModelError(f"cannot read the network {path}: it is not an ONNX model") from error
    except ModelError as error:
        raise ModelError(f"cannot use the network {path}: {error}") from error


def read(model: ModelProto, outputs: Sequence[str] | None = None) -> Graph:
    """The graph of a model; with `outputs`, the part that makes those tensors. Raises ModelError."""
    opset = _opset(model)
    proto = model.graph
    _check_text(proto)
    if len(proto.node) > MOST_NODES:
        raise ModelError(f"it has {len(proto.node)} operators; at most {MOST_NODES} are supported")
    if proto.sparse_initializer:
        raise ModelError("it has sparse tensors, which are not supported")
    initial = {tensor.name: tensor for tensor in proto.initializer}
    inputs = tuple(value.name for value in proto.input if value.name not in initial)
    known = _names(proto, inputs)
    wanted = tuple(value.name for value in proto.output) if outputs is None else tuple(outputs)
    for name in wanted:
        if name not in known:
            raise ModelError(
                f"it has no tensor {_short(name)}; its outputs are {_listed(v.name for v in proto.output)}"
                f"{_near(name, proto)}"
            )
    nodes, used = _ancestors(proto.node, wanted)
    _check_supported(nodes)
    constants = {name: _constant(name, tensor) for name, tensor in initial.items() if name in used}
    dtypes = _input_dtypes(proto)
    _check_integers(nodes, {name: dtypes[name] for name in inputs if name in dtypes}, opset)
    graph = Graph(inputs, wanted, tuple(_node(node, opset) for node in nodes), constants, opset, dtypes)
    try:
        return fold(graph, dtypes)
    except ModelError:
        raise
    except DAMAGE as error:
        raise ModelError(f"its constants do not fit its operators: {' '.join(str(error).split())}") from error


def run(model: ModelProto, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    """The outputs of a model for one list of inputs, in the order of its graph's inputs. Raises ModelError."""
    return Network(read(model))(*inputs)


def _input_dtypes(proto: GraphProto) -> dict[str, np.dtype[Any]]:
    """The declared element types of the inputs. Raises ModelError for those that are not supported."""
    found = {}
    for value in proto.input:
        kind = value.type.tensor_type.elem_type
        if value.type.WhichOneof("value") not in ("tensor_type", None):
            raise ModelError(f"input {_short(value.name)} is not a tensor")
        if kind:
            found[value.name] = dtype_of(kind)
    return found


def _opset(model: ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS]
    if not versions:
        raise ModelError("it names no version of ONNX's operators; it is empty, or not an ONNX model")
    if not 1 <= min(versions) == max(versions) <= NEWEST_OPSET:
        raise ModelError(f"it asks for opset {versions[0]}, the onnx package here knows 1 to {NEWEST_OPSET}")
    return int(versions[0])


def _check_text(proto: GraphProto) -> None:
    """Names that are not UTF-8 come out of the parser as bytes."""
    names: list[object] = [part.name for part in (*proto.input, *proto.output, *proto.initializer)]
    for node in proto.node:
        names += [node.op_type, node.domain, *node.input, *node.output, *(given.name for given in node.attribute)]
    if not all(isinstance(name, str) for name in names):
        raise ModelError("a name in it is not text")


def _names(proto: GraphProto, inputs: tuple[str, ...]) -> set[str]:
    """Every tensor of the graph; each is made once, and before it is used."""
    first = [*inputs, *(tensor.name for tensor in proto.initializer)]
    known = set(first)
    if len(known) != len(first) or "" in known:
        raise ModelError("two of its inputs or constants have one name, or none")
    for node in proto.node:
        for name in node.input:
            if name and name not in known:
                raise ModelError(f"{_shown(node)} uses tensor {_short(name)}, which nothing before it makes")
        for name in node.output:
            if name in known:
                raise ModelError(f"tensor {_short(name)} is made twice")
            if name:
                known.add(name)
    return known


def _ancestors(nodes: Sequence[NodeProto], wanted: Iterable[str]) -> tuple[list[NodeProto], set[str]]:
    """The nodes that the wanted tensors depend on, in order, and every tensor they use."""
    used, kept = set(wanted), []
    for node in reversed(nodes):
        if used.intersection(node.output):
            kept.append(node)
            used.update(name for name in node.input if name)
    return kept[::-1], used


def _check_supported(nodes: Iterable[NodeProto]) -> None:
    """Refuse other domains and unknown operators, all of them in one line."""
    others = {
        node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}"
        for node in nodes
        if node.domain not in DEFAULT_DOMAINS or node.op_type not in OPERATORS
    }
    if others:
        raise ModelError(f"it uses operators that are not supported: {_listed(sorted(others))}")


def _check_integers(nodes: Iterable[NodeProto], inputs: dict[str, np.dtype[Any]], opset: int) -> None:
    """Refuse an input of integers, or what is moved about of it, where ONNX's operator takes none: it would be run on
    what nobody meant. The file is checked no further."""
    integers = {name: dtype for name, dtype in inputs.items() if dtype.kind in "biu"}
    for node in nodes:
        name, same = refusing_integers(node, integers, opset)
        if name:
            raise ModelError(
                f"{_shown(node)} takes no {integers[name]}, which its input {_short(name)} is; export the network "
                f"with floats as its input, or with a Cast behind it"
            )
        integers |= same


def _node(proto: NodeProto, opset: int) -> Node:
    try:
        if wrong := problem(proto, opset):
            raise ModelError(wrong)
        values = {given.name: attribute(given) for given in proto.attribute}
    except ModelError as error:
        raise ModelError(f"{_shown(proto)}: {error}") from error
    return Node(proto.op_type, tuple(proto.input), tuple(proto.output), values)


def _constant(name: str, tensor: onnx.TensorProto) -> NDArray[np.generic]:
    try:
        return array(tensor)
    except ModelError as error:
        raise ModelError(f"constant {_short(name)}: {error}") from error


def _shown(node: NodeProto) -> str:
    return f"operator {_short(node.op_type)[1:-1]} that makes {_short(node.output[0] if node.output else '')}"


def _near(name: str, proto: Any) -> str:
    """Tensors whose names are like this one, or else those before the outputs."""
    made = [output for node in proto.node[-5000:] for output in node.output if isinstance(output, str) and output]
    like = get_close_matches(name, made, 6) or [one for one in made if one.lower() == name.lower()] or made[-7:-1]
    return f"; others are {_listed(like)}" if like else ""


def _short(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}...")


def _listed(names: Iterable[str]) -> str:
    shown = [_short(name)[1:-1] for name in names]
    return ", ".join(shown[:12]) + (f", ... ({len(shown)} in all)" if len(shown) > 12 else "")
