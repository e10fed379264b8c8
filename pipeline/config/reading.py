"""A workflow file at the door: scene.yaml -> nodes with line numbers -> the models; what is wrong is named by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.config.models import Compress, Denoise, Execution, Features, Read, Section, Workflow, Write
from pipeline.errors import ConfigError
from pipeline.storage import at_home

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 20
_SHOWN = 60
_FIRST = "name the workflow first, then the scenes"


def load_workflow(path: Path, warn: Callable[[str], None] | None = None) -> Workflow:
    """Read a workflow file; its paths come back resolved against its folder. `warn` is told of one that is empty.

    Raises:
        ConfigError: the file is missing, not YAML, or says something a workflow cannot say.
    """
    root = _compose(path)
    said = _plain(root, path)
    if said is None and warn is not None:
        warn(f"{path} says nothing, so everything is as by default; is it the workflow that was meant?")
    if said is not None and not isinstance(said, dict):
        raise ConfigError(f"{path}:1: a workflow is keys with values, such as `out: DIR`, got {_short(said)}")
    try:
        workflow = Workflow.model_validate(said or {})
    except ValidationError as error:
        raise ConfigError(_first_problem(path, root, error)) from error
    folder = path.parent
    sources = [
        _resolve(folder, source) if isinstance(source, str) else [_resolve(folder, one) for one in source]
        for source in workflow.sources
    ]
    features = workflow.features
    if features is not None and features.bank.startswith("onnx:"):
        # Not resolved: what stands behind the model is the name of a tensor, and may look like a path.
        model = at_home(features.bank.removeprefix("onnx:"))
        model = model if Path(model).is_absolute() else f"{folder.resolve()}/{model}"
        features = features.model_copy(update={"bank": f"onnx:{model}"})
    elif features is not None and features.bank.endswith(".npz"):
        features = features.model_copy(update={"bank": _resolve(folder, features.bank)})
    out, place = _resolve(folder, workflow.out), workflow.run
    if place.scheduler is not None and place.scheduler.endswith(".json"):
        place = place.model_copy(update={"scheduler": _resolve(folder, place.scheduler)})
    read = workflow.read.model_copy(update={"mask_band": _resolve_mask(folder, workflow.read.mask_band)})
    return workflow.model_copy(
        update={"sources": sources, "out": out, "read": read, "features": features, "run": place}
    )


def _resolve(folder: Path, text: str) -> str:
    remote = "://" in text or text.startswith("/vsi")
    return text if remote else str((folder / at_home(text)).resolve())


def _resolve_mask(folder: Path, text: str | None) -> str | None:
    """[CODING:]FILE with the file resolved; what is no file there is a band, and stays."""
    coding, colon, name = (text or "").rpartition(":")
    return f"{coding}{colon}{_resolve(folder, name)}" if name and (folder / at_home(name)).is_file() else text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _compose(path: Path) -> yaml.Node | None:
    try:
        with path.open("rb") as file:  # a pipe is in order, and has no size
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ConfigError(f"{path}: a workflow of more than {_MAX_BYTES} bytes; is it a workflow?")
        text = data.decode("utf-8")
        _check_events(path, text)
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"{path}: the workflow cannot be read: {error.strerror}; {_FIRST}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: a workflow is UTF-8 text; this is not ({error.reason}); {_FIRST}") from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_not_yaml(path, error)) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error


def _not_yaml(path: Path, error: yaml.MarkedYAMLError) -> str:
    """A key that lacks its colon is named by its own line: the parser misses the colon on a later one."""
    key = error.context == "while scanning a simple key"
    mark = error.context_mark if key else error.problem_mark
    remedy = "; a colon and a blank stand between a key and its value" if key else ""
    return f"{path}:{mark.line + 1 if mark else 1}: not YAML: {error.problem}{remedy}"


def _check_events(path: Path, text: str) -> None:
    """Refuse what makes small files huge or slow, as soon as the parser meets it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{path}: aliases (*{event.anchor}) are not used in workflows")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ConfigError(f"{path}: nested too deeply for a workflow")


def _plain(node: yaml.Node | None, path: Path) -> Any:
    """The node as dicts, lists and scalars; keys stated twice are refused, PyYAML would keep the last."""
    if node is not None and node.tag.startswith("tag:yaml.org,2002:python"):
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: {node.tag.rpartition(':')[2]} is not used in workflows")
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in mapping:
                raise ConfigError(f"{path}:{key.start_mark.line + 1}: {name} is said twice")
            mapping[name] = _plain(value, path)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, path) for value in node.value]
    if node is None:
        return None
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        reason = getattr(error, "problem", None) or error
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: {node.value!r} is no value: {reason}") from error


def _first_problem(path: Path, root: yaml.Node | None, error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = [part for part in problem["loc"] if part != "function-after"]
    line, keys = _locate(root, where)
    name = ".".join(str(key) for key in keys) or "the workflow"
    if problem["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(keys[:-1]))
        return f"{path}:{line}: unknown key {name}; known here: {known}"
    got = problem.get("input")
    shown = "" if isinstance(got, dict) else f", got {got!r}"
    return f"{path}:{line}: {name}: {problem['msg'].removeprefix('Value error, ')}{shown}"


def _locate(node: yaml.Node | None, where: list[Any]) -> tuple[int, list[Any]]:
    """The line of the deepest part of `where` that stands in the file, and the part of `where` that is keys."""
    line, keys = 1, []
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
        keys.append(part)
    return line, keys


def _known_keys(keys: list[Any]) -> list[str]:
    sections: dict[str, type[Section]] = {
        "read": Read,
        "denoise": Denoise,
        "compress": Compress,
        "features": Features,
        "write": Write,
        "run": Execution,
    }
    model = sections.get(str(keys[0]), Workflow) if keys else Workflow
    return list(model.model_fields)
