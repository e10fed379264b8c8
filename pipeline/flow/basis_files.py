"""Where the models of a scene's bases are kept: one file, or a folder with one for each group of dates."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import OutputError
from pipeline.raster.chunks import remove_tree
from pipeline.storage import Place


def basis_folder(path: Place) -> Place:
    """Where the models of dates are kept, of the path of the one of a scene."""
    return path.with_name(path.name.removesuffix(".npz"))


def model_file_of(folder: Place, number: int) -> Place:
    """The file of the model of a group of dates."""
    return folder / f"{number:03d}.npz"


def models_in(folder: Place) -> list[Place]:
    """The files of models that are there, from the first on."""
    found: list[Place] = []
    while (file := model_file_of(folder, len(found))).is_file():
        found.append(file)
    return found


def make_folder(path: Path) -> None:
    """The folder of a file, where it is not there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: cannot be made: {error.strerror}; move what is there away") from error


def remove_models(path: Place) -> None:
    """Remove the model of a scene and those of its dates, and nothing else.

    Raises:
        OutputError: they cannot be removed.
    """
    remove_tree(path)
    folder = basis_folder(path)
    for file in models_in(folder):
        remove_tree(file)
    if isinstance(folder, Path) and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
