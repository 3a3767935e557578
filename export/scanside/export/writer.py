"""Writing a bundle: beside its final place, then renamed, so that a half-written bundle never exists."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from scanside.runtime.bundle import MANIFEST
from scanside.runtime.errors import OutputError
from scanside.runtime.manifest import FileEntry, Manifest


class BundleWriter:
    """Collects files in a temporary folder; `commit` moves it to its place. Leaving without it removes all."""

    def __init__(self, out: Path, *, overwrite: bool) -> None:
        """Start a bundle.

        Raises:
            OutputError: If `out` exists and may not be overwritten, or its folder is not writable.
        """
        self._out = out
        if out.exists() and not overwrite:
            raise OutputError(f"{out} exists already; choose another -o or add --overwrite.")
        if out.exists() and not (out / MANIFEST).is_file():
            raise OutputError(
                f"{out} is not a bundle, so --overwrite will not replace it; choose another -o."
            )
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        except OSError as error:
            raise OutputError(
                f"{out.parent} cannot be written ({error.strerror}); choose another -o."
            ) from error
        self.files: dict[str, FileEntry] = {}

    def add(self, relative: str, content: bytes) -> None:
        """Write a file and note its hash."""
        target = self._folder / relative
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            raise OutputError(
                f"{self._out} cannot be written ({error.strerror}); free space or choose another -o."
            ) from error
        self.files[relative] = FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))

    def write_manifest(self, manifest: Manifest) -> Path:
        """Write bundle.json with the files added so far; returns the temporary bundle's folder."""
        whole = manifest.model_copy(update={"files": dict(sorted(self.files.items()))})
        content = whole.model_dump(mode="json", by_alias=True, exclude_none=False)
        try:
            (self._folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n")
        except OSError as error:
            raise OutputError(
                f"{self._out} cannot be written ({error.strerror}); free space or choose another -o."
            ) from error
        return self._folder

    def commit(self) -> None:
        """Move the finished bundle to its place."""
        old = None
        try:
            self._folder.chmod(0o755)
            if self._out.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{self._out.name}.old.", dir=self._out.parent))
                self._out.rename(old / "bundle")
            self._folder.rename(self._out)
        except OSError as error:
            raise OutputError(
                f"{self._out} cannot be written ({error.strerror}); choose another -o."
            ) from error
        finally:
            if old is not None:
                shutil.rmtree(old, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder.exists():
            shutil.rmtree(self._folder, ignore_errors=True)
