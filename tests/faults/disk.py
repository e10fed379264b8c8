"""A small disk that can be filled: a tmpfs where we may mount one, else a bound on the size of files."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

LARGE = 256 << 20


class Disk:
    """Where the outputs lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.mounted = _quiet("mount", "-t", "tmpfs", "-o", f"size={LARGE}", "tmpfs", str(folder))

    def leave(self, free: int) -> bool:
        """Leave so many bytes; False where the disk is not ours to fill."""
        if not self.mounted:
            return False
        usage = shutil.disk_usage(self.folder)
        return self._resize(usage.used + free)

    def empty(self) -> None:
        """There is room again."""
        if self.mounted:
            self._resize(LARGE)

    def close(self) -> None:
        """Unmount it."""
        if self.mounted:
            _quiet("umount", str(self.folder)) or _quiet("umount", "-l", str(self.folder))
        with suppress(OSError):
            shutil.rmtree(self.folder)

    def _resize(self, size: int) -> bool:
        return _quiet("mount", "-o", f"remount,size={max(4096, size // 4096 * 4096)}", str(self.folder))


def _quiet(*words: str) -> bool:
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
