"""Whose signatures count here, and which bundles may therefore compute studies: `[trust]` of scanside.toml.

It fails closed: a bundle that no trusted key has signed runs only where a person has allowed it by name. What was
altered after it was signed, or is revoked, does not run at all.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import StringConstraints, model_validator

from scanside.runtime.errors import BundleError
from scanside.runtime.record import Record
from scanside.runtime.signing import (
    KINDS,
    Kind,
    Line,
    PublicKey,
    Signature,
    SignatureError,
    key_id,
    signatures_of,
)

if TYPE_CHECKING:
    from scanside.runtime.bundle import Bundle

Revoked = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{16}|[0-9a-f]{64})$")]
Allowed = Annotated[str, StringConstraints(pattern=r"^[^@\s][^@]*(@[0-9a-f]{64})?$")]


class TrustedKey(Record):
    """A key that counts.

    Attributes:
        name: Whose it is, as this place calls them.
        signs: What it may sign.
    """

    name: Line
    key: PublicKey
    signs: tuple[Kind, ...] = KINDS


class Trust(Record):
    """What is trusted.

    Attributes:
        keys: Whose signatures count.
        allow: Bundles that run without such a signature: NAME, or NAME@SHA256 for one bundle alone.
        revoked: What no longer counts, whatever else is said: ids of keys (16 digits), sha256 of bundles (64 digits).
    """

    keys: tuple[TrustedKey, ...] = ()
    allow: tuple[Allowed, ...] = ()
    revoked: tuple[Revoked, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Self:
        for one in ([key.name for key in self.keys], [key.key for key in self.keys]):
            if twice := {value for value in one if one.count(value) > 1}:
                raise ValueError(f"'{min(twice)}' stands twice among the keys")
        return self

    def signer(self, signatures: tuple[Signature, ...], kind: Kind) -> TrustedKey | None:
        """The first of the trusted keys that made one of these signatures, which are proven already; None: none did."""
        made = {one.key for one in signatures}
        return next((key for key in self.keys if key.key in made and self._counts(key, kind)), None)

    def _counts(self, key: TrustedKey, kind: Kind) -> bool:
        return kind in key.signs and key_id(key.key) not in self.revoked


@dataclass(frozen=True)
class Standing:
    """Why a bundle may run.

    Attributes:
        signer: The trusted key's name; None for a bundle that is allowed by name.
        words: The same for people.
    """

    signer: str | None
    words: str


def signatures_of_bundle(bundle: "Bundle") -> tuple[Signature, ...]:
    """The signatures of a bundle, each proven; none when nobody has signed it.

    Raises:
        BundleError: If its manifest is not what was signed, or a signature is not by the key that it names.
    """
    from scanside.runtime.bundle import (
        MANIFEST,
    )  # here: the configuration loads this module, and reads no bundle

    path = bundle.path / MANIFEST
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != bundle.sha256:
            raise BundleError(f"Bundle {bundle.path} was changed after it was opened; open it again.")
        return signatures_of(path, data, "bundle")
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}); copy the bundle again.") from error
    except SignatureError as error:
        raise BundleError(str(error)) from error


def judge(bundle: "Bundle", trust: Trust) -> Standing:
    """Whether a bundle may compute studies here.

    Raises:
        BundleError: If it is revoked, was altered, or is signed by no trusted key and not allowed by name.
    """
    name = bundle.manifest.name
    if bundle.sha256 in trust.revoked:
        raise BundleError(f"Bundle {bundle.path} ({name}) is revoked here; use another one.")
    signatures = signatures_of_bundle(bundle)
    signer = trust.signer(signatures, "bundle")
    if signer is not None:
        return Standing(signer.name, f"signed by {signer.name}")
    withdrawn = sorted(one.key_id for one in signatures if one.key_id in trust.revoked)
    if withdrawn:
        raise BundleError(
            f"Bundle {bundle.path} ({name}) is signed by a revoked key ({withdrawn[0]}); have it signed again."
        )
    if name in trust.allow or f"{name}@{bundle.sha256}" in trust.allow:
        return Standing(None, "not signed by a trusted key, allowed by name")
    by = f"signed by {signatures[0].signer}, whose key is not trusted here" if signatures else "not signed"
    raise BundleError(
        f"Bundle {bundle.path} is {by}; have it signed by a trusted key, or allow '{name}' by name in [trust] of "
        "scanside.toml."
    )
