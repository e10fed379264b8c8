"""What a workflow may say: pydantic models, every key with its meaning and its bounds."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _as_text(value: Any) -> Any:
    """A word that YAML has taken for a number or a date; other values as they are."""
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_as_text)]
Mode = Literal["snr", "rmse", "max_error", "lossless"]


class Section(BaseModel):
    """A part of the workflow; keys it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Read(Section):
    """How scenes are read."""

    tile: int = Field(256, ge=16, le=8192, description="Side of a tile in pixels; one task computes some tiles")
    bands: list[Text] | None = Field(None, description="Names of the bands to read; all by default")
    bidx: list[int] | None = Field(None, description="Numbers of the bands to read, from 1; all by default")
    resolution: float | None = Field(None, gt=0, description="Pixel size of a stack of band files, CRS units")
    resampling: Literal["nearest", "bilinear", "cubic", "average"] | None = Field(
        None, description="How band files come to the stack's grid; by default finer ones are averaged, others nearest"
    )
    nodata: float | None = Field(None, description="Sentinel of invalid pixels, in place of the files' own")
    mask_band: Text | None = Field(
        None,
        min_length=1,
        description="Mask of clouds, not learnt from: [CODING:]BAND or FILE; scl, qa_pixel, fmask or cfmask",
    )
    mask_values: list[int] | None = Field(None, description="Values of the mask that are out, not its coding's")
    stack: bool = Field(False, description="The files of a scene are dates of one place on one grid: one joint scene")
    times: list[Text] | None = Field(None, description="When the dates of a stack were taken, where nothing else says")
    mask_bits: list[int] | None = Field(None, description="Bits of the mask that are out, from 0, not its coding's")


class Denoise(Section):
    """Blockwise patch SVD; `none` leaves the pixels as they are."""

    quality: Literal["none", "fast", "quality"] = "fast"
    sigma: float | Literal["auto"] = Field("auto", description="Noise in data units; found by itself by default")
    basis: Literal["tile", "scene"] = Field(
        "tile", description="Where noise and bases are found: on each tile, or on windows of the whole scene, once"
    )
    repair: Literal["auto", "all", "stripes", "none"] = Field(
        "auto",
        description="What is mended before: stripes, dead lines and impulses of single bands, the lines alone, or "
        "nothing; auto is all, of dates that are denoised together the lines",
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
    normalise: Literal["scene", "none"] | None = Field(
        None,
        description="What a network sees: bands less their mean over their deviation (the default), or the pixels as "
        "they are (of networks of integers)",
    )
    exact: bool = Field(False, description="Compute a network on blocks that do not depend on the tile: the same bits")

    @model_validator(mode="after")
    def _of_networks(self) -> Self:
        network = self.bank.startswith("onnx:")
        if network and (self.count is not None or self.size is not None):
            raise ValueError("count and size are for banks that are fitted; a network has its filters already")
        if not network and (self.exact or self.normalise == "none"):
            raise ValueError("exact and normalise are for networks, onnx:MODEL[@TENSOR]")
        return self


class Write(Section):
    """What is written beside the two stores."""

    cog: list[Literal["denoised", "features"]] = Field(default_factory=lambda: ["denoised", "features"])  # type: ignore[arg-type]
    report: bool = True


class Execution(Section):
    """Where the tasks run."""

    scheduler: str | None = Field(
        None,
        description="threads, processes, tcp://host:port, or a scheduler file; "
        "where nothing is said, what DASK_SCHEDULER_ADDRESS says, or threads",
    )
    workers: int | None = Field(None, ge=1)


class Workflow(Section):
    """A whole job: scenes in, for each a folder of stores, rasters, a STAC item, a report and a receipt out."""

    version: Literal[1] = 1
    sources: list[Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]] = Field(
        default_factory=list,
        description="Scenes: rasters, folders, patterns (scenes/*.tif), STAC items, item collections or catalogues; "
        "a list of files is one scene",
    )
    out: str = Field("out", description="Folder of the outputs")
    read: Read = Read()
    denoise: Denoise = Denoise()
    compress: Compress = Compress()
    features: Features | None = Features()
    write: Write = Write()
    run: Execution = Execution()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a workflow, for editors."""
    return Workflow.model_json_schema()
