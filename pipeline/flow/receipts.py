"""What became of a run: a receipt per scene, a figure per stage, every failure by name."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.flow.paperwork import versions, write_json
from pipeline.flow.tasks import Receipt


@dataclass
class StageReceipt:
    """One map over one scene: tiles there at its end, those found done, bytes in and out, seconds."""

    name: str
    tiles: int
    resumed: int
    raw_bytes: int
    stored_bytes: int
    work_seconds: float
    """Summed over the tasks."""
    seconds: float
    """By the clock."""
    clipped: int = 0
    """Values beyond the range of int8 features, in the tiles that this run computed."""

    @classmethod
    def of(cls, name: str, receipt: Receipt, seconds: float) -> StageReceipt:
        """The figures of a map."""
        return cls(
            name, receipt.tiles, receipt.resumed, receipt.raw, receipt.stored, receipt.seconds, seconds, receipt.clipped
        )


@dataclass
class SceneReceipt:
    """What became of one scene: `done`, `complete` (it was already), or `failed` with its failures."""

    name: str
    folder: str
    inputs: list[str]
    command: str
    status: str = "failed"
    stages: list[StageReceipt] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """Figures found at the end: ratio, snr, noise, shapes."""

    @property
    def resumed(self) -> bool:
        """True where no tile had to be computed."""
        return bool(self.stages) and all(stage.resumed == stage.tiles for stage in self.stages)

    def was_done(self) -> bool:
        """Whether the receipt in the folder is that of a finished run: it is written last, and may not have been."""
        try:
            return bool(json.loads((Path(self.folder) / "receipt.json").read_bytes())["status"] in ("done", "complete"))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def fail(self, error: BaseException) -> None:
        """Record why the scene failed, unless its tiles said so already."""
        self.status = "failed"
        self.failures = self.failures or [" ".join(str(error).split())]

    def to_json(self, options: dict[str, Any]) -> dict[str, Any]:
        """The receipt as it is written."""
        return asdict(self) | {"options": options, "versions": versions(), "outputs": self._outputs()}

    def write(self, options: dict[str, Any]) -> None:
        """Write receipt.json into the scene's folder."""
        write_json(Path(self.folder) / "receipt.json", self.to_json(options))

    def _outputs(self) -> dict[str, int]:
        """Bytes of each output that is there; of a store, of its chunks."""
        folder = Path(self.folder)
        stored = {"scene.zarr": 0, "features.zarr": 1}
        sizes = {
            name: self.stages[number].stored_bytes
            for name, number in stored.items()
            if (folder / name).is_dir() and number < len(self.stages)
        }
        files = ("denoised.tif", "features.tif", "item.json", "report.html", "bank.npz", "basis.npz")
        return sizes | {name: (folder / name).stat().st_size for name in files if (folder / name).is_file()}
