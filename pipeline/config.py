"""The workflow: what a YAML file may say, checked at the door.

    scene.yaml -> nodes with line numbers -> pydantic models -> plain arguments for the floors below

Paths in a workflow are relative to its own folder. An unknown or wrong key is named with its line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import ConfigError

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 20
Mode = Literal["snr", "rmse", "max_error", "lossless"]


class Section(BaseModel):
    """A part of the workflow; keys it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Read(Section):
    """How scenes are read."""

    tile: int = Field(256, ge=16, le=8192, description="Side of a tile in pixels; one task computes some tiles")
    bands: list[str] | None = Field(None, description="Names of the bands to read; all by default")
    bidx: list[int] | None = Field(None, description="Numbers of the bands to read, from 1; all by default")
    resolution: float | None = Field(None, gt=0, description="Pixel size of a stack of band files, CRS units")
    resampling: Literal["nearest", "bilinear", "cubic", "average"] = Field(
        "nearest", description="How coarser band files are brought to the stack's grid"
    )
    nodata: float | None = Field(None, description="Sentinel of invalid pixels, where the file does not say")


class Denoise(Section):
    """Blockwise patch SVD; `none` leaves the pixels as they are."""

    quality: Literal["none", "fast", "quality"] = "fast"
    sigma: float | Literal["auto"] = Field("auto", description="Noise in data units; found by itself by default")
    basis: Literal["tile", "scene"] = Field(
        "tile", description="Where noise and bases are found: on each tile, or on windows of the whole scene, once"
    )

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.sigma != "auto" and not self.sigma > 0:
            raise ValueError(f"sigma must be auto or a positive number, got {self.sigma}")
        return self


class Compress(Section):
    """The bound of the lossy store; exactly one of the four."""

    snr: float | None = Field(None, gt=0, description="Signal to noise ratio to keep, dB")
    rmse: float | None = Field(None, gt=0, description="Root mean square error allowed, data units")
    max_error: float | None = Field(None, ge=0, description="Largest error allowed on any pixel, data units")
    lossless: bool = False
    effort: Literal["fast", "best"] = "fast"

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        given = [self.snr is not None, self.rmse is not None, self.max_error is not None, self.lossless]
        if sum(given) > 1:
            raise ValueError("give one of snr, rmse, max_error, lossless")
        return self

    @property
    def bound(self) -> tuple[Mode, float | None]:
        """(mode, value) as the codec takes them; 40 dB where nothing is said."""
        if self.rmse is not None:
            return "rmse", self.rmse
        if self.max_error is not None:
            return "max_error", self.max_error
        if self.lossless:
            return "lossless", None
        return "snr", 40.0 if self.snr is None else self.snr


class Features(Section):
    """The convolutional features of the stored scene."""

    bank: str = Field(
        "rcf-mixed",
        description="A bank to fit on the scene, the path of a fitted BANK.npz, or onnx:MODEL[@TENSOR]",
    )
    count: int | None = Field(None, ge=1, le=4096, description="Number of filters of a bank to fit")
    size: int | None = Field(None, ge=1, le=31, description="Side of the filters of a bank to fit")
    seed: int = Field(0, ge=0)
    pool: int | None = Field(None, ge=1, le=255, description="Side of the mean pool; the bank's own by default")
    stride: int | None = Field(
        None, ge=1, le=1024, description="Pixels a feature cell covers on a side; 1, or of a network its tensor's own"
    )
    dtype: Literal["float32", "int8"] = Field("float32", description="int8: one byte, with a scale for each feature")
    domain: Literal["auto", "factors", "pixels"] = Field(
        "auto", description="Convolve the store's factors or its pixels; factors where they are less work by default"
    )
    normalise: Literal["scene", "none"] = Field(
        "scene",
        description="What a network sees: bands less their mean over their deviation, or the pixels as they are",
    )
    exact: bool = Field(False, description="Compute a network on blocks that do not depend on the tile: the same bits")

    @model_validator(mode="after")
    def _of_networks(self) -> Self:
        network = self.bank.startswith("onnx:")
        if network and (self.count is not None or self.size is not None):
            raise ValueError("count and size are for banks that are fitted; a network has its filters already")
        if not network and (self.exact or self.normalise != "scene"):
            raise ValueError("exact and normalise are for networks, onnx:MODEL[@TENSOR]")
        return self


class Write(Section):
    """What is written beside the two stores."""

    cog: list[Literal["denoised", "features"]] = Field(default_factory=lambda: ["denoised", "features"])  # type: ignore[arg-type]
    report: bool = True


class Execution(Section):
    """Where the tasks run."""

    scheduler: str = Field("threads", description="threads, processes, tcp://host:port, or a scheduler file")
    workers: int | None = Field(None, ge=1)


class Workflow(Section):
    """A whole job: scenes in, for each a folder of stores, rasters, a STAC item, a report and a receipt out."""

    version: Literal[1] = 1
    sources: list[Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]] = Field(
        default_factory=list,
        description="Scenes: a raster, a folder, a STAC item or a list of band files each",
    )
    out: str = Field("out", description="Folder of the outputs")
    read: Read = Read()
    denoise: Denoise = Denoise()
    compress: Compress = Compress()
    features: Features | None = Features()
    write: Write = Write()
    run: Execution = Execution()


def load_workflow(path: Path) -> Workflow:
    """Read a workflow file; its paths come back resolved against its folder.

    Raises:
        ConfigError: the file is missing, not YAML, or says something a workflow cannot say.
    """
    root = _compose(path)
    try:
        workflow = Workflow.model_validate(_plain(root, path) or {})
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
        model = features.bank.removeprefix("onnx:")
        model = model if Path(model).is_absolute() else f"{folder.resolve()}/{model}"
        features = features.model_copy(update={"bank": f"onnx:{model}"})
    elif features is not None and features.bank.endswith(".npz"):
        features = features.model_copy(update={"bank": _resolve(folder, features.bank)})
    out = _resolve(folder, workflow.out)
    return workflow.model_copy(update={"sources": sources, "out": out, "features": features})


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a workflow, for editors."""
    return Workflow.model_json_schema()


def _resolve(folder: Path, text: str) -> str:
    remote = "://" in text or text.startswith("/vsi")
    return text if remote else str((folder / text).resolve())


def _compose(path: Path) -> yaml.Node | None:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: a workflow of more than {_MAX_BYTES} bytes; is it a workflow?")
        text = path.read_text(encoding="utf-8")
        _check_events(path, text)
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"{path}: the workflow cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: a workflow is UTF-8 text; this is not ({error.reason})") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error


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
