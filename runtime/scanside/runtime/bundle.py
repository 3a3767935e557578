"""Opening and verifying a bundle. Nothing in it is used before its sha256 has been compared."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scanside.runtime.backends.engines import ENDINGS
from scanside.runtime.errors import BundleError, UsageError
from scanside.runtime.manifest import MODELS_SINCE, SCHEMA, Manifest, of_earlier_schema
from scanside.runtime.record import first_fault
from scanside.runtime.signing import SUFFIX

MANIFEST = "bundle.json"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. Immutable: files are read through `read`, which verifies them.

    Attributes:
        path: The folder.
        manifest: What is in it.
        sha256: Hash of bundle.json, which holds the hash of every other file: the identity of the bundle.
    """

    path: Path
    manifest: Manifest
    sha256: str

    def read(self, relative: str) -> bytes:
        """The bytes of a file, verified.

        Raises:
            BundleError: If the file is missing, truncated or changed.
        """
        entry = self.manifest.files[relative]
        try:
            data = (self.path / relative).read_bytes()
        except OSError as error:
            raise BundleError(
                f"{relative} of bundle {self.path} cannot be read ({error.strerror}); copy the bundle again."
            ) from error
        if len(data) != entry.bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BundleError(
                f"{relative} of bundle {self.path} is not what was exported (its sha256 differs); "
                "copy the bundle again from its source."
            )
        return data

    def role(self, asked: str | None) -> str:
        """The segmenter to run: the one asked for, or the only one whose mask is a result."""
        final = self.manifest.final_roles
        if asked is None and len(final) == 1:
            return final[0]
        if asked in self.manifest.segmenters:
            return asked
        choices = ", ".join(self.manifest.segmenters)
        problem = f"has no segmenter '{asked}'" if asked else "holds several segmenters"
        raise UsageError(f"Bundle {self.path} {problem}; choose one with --role: {choices}.")

    def summary(self) -> dict[str, str]:
        """Name, version and hash: what every result carries."""
        return {"name": self.manifest.name, "version": self.manifest.version, "sha256": self.sha256}


def open_bundle(path: str | Path) -> Bundle:
    """Open a bundle: read its manifest and see that every file is there and of the right size.

    File contents are verified when they are read; `verify` reads them all.

    Raises:
        BundleError: If this is no bundle, of a newer schema, or incomplete, or holds a compiled engine.
    """
    folder = Path(path)
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise BundleError(
            f"{folder} is not a bundle: it has no readable {MANIFEST}; "
            "make one with `scanside export nnunet MODEL_FOLDER -o BUNDLE`."
        ) from error
    manifest = _parse(text, folder)
    for relative, entry in manifest.files.items():
        file = folder / relative
        if file.suffix.lower() in ENDINGS:
            raise BundleError(
                f"Bundle {folder} holds the compiled engine {relative}, which is native code from another machine; "
                "export the bundle again, engines are built where they run."
            )
        if not file.is_file():
            raise BundleError(f"Bundle {folder} is incomplete: {relative} is missing; copy the bundle again.")
        if file.stat().st_size != entry.bytes:
            raise BundleError(f"Bundle {folder} is damaged: {relative} is truncated; copy the bundle again.")
    return Bundle(folder, manifest, hashlib.sha256(text).hexdigest())


def verify(bundle: Bundle) -> int:
    """Compare the sha256 of every file and refuse files that the manifest does not name, its signatures aside.

    Returns:
        The number of files verified, the manifest included.

    Raises:
        BundleError: At the first file that is not as it was exported.
    """
    for relative in bundle.manifest.files:
        bundle.read(relative)
    known = {*bundle.manifest.files, MANIFEST}
    for file in sorted(bundle.path.rglob("*")):
        relative = file.relative_to(bundle.path).as_posix()
        if not file.is_dir() and relative not in {*known, MANIFEST + SUFFIX}:
            raise BundleError(
                f"Bundle {bundle.path} holds {relative}, which its manifest does not name; remove it."
            )
    return len(known)


def _parse(text: bytes, folder: Path) -> Manifest:
    try:
        raw: Any = json.loads(text)
    except ValueError as error:
        raise BundleError(f"{folder / MANIFEST} is damaged (not JSON); copy the bundle again.") from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if not isinstance(schema, int):
        raise BundleError(f"{folder / MANIFEST} is not a bundle manifest: it names no schema version.")
    if schema > SCHEMA:
        raise BundleError(
            f"Bundle {folder} has schema {schema}, newer than this runtime's {SCHEMA}; upgrade scanside."
        )
    try:
        return Manifest.model_validate(of_earlier_schema(raw) if schema < MODELS_SINCE else raw)
    except ValidationError as error:
        where, why = first_fault(error)
        raise BundleError(
            f"{folder / MANIFEST} is not valid: {where or 'manifest'}: {why}; export it again."
        ) from error
