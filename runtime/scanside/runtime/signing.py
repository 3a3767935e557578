"""Ed25519 signatures (RFC 8032) of bundles and acceptance reports, in a file of their own beside what they sign.

A signature says who signed which bytes, when, and as what: one of a report is none of a bundle. It proves that somebody
who holds the key said so, at a time that is theirs to state; whether that key counts here is decided in `trust.py`.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from scanside.runtime.errors import ExtraMissingError, InputError, OutputError, UsageError
from scanside.runtime.extras import install_command
from scanside.runtime.images.files import atomic_write, write_private
from scanside.runtime.record import Record, first_fault

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SUFFIX = ".sig"
"""Added to the name of the file that is signed."""
SCHEMA: Literal["scanside.signatures/1"] = "scanside.signatures/1"
Kind = Literal["bundle", "acceptance report"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_PREFIX = "ed25519:"
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64


class SignatureError(InputError):
    """A signature is damaged, or the file beside it is not the one that was signed."""


def _bytes(text: str, length: int) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError:
        found = b""
    if len(found) != length:
        raise ValueError(f"'{text[:60]}' is not {length} bytes in base64")
    return found


def _public(text: str) -> str:
    text = text.strip()
    if not text.startswith(_PREFIX):
        raise ValueError(f"'{text[:60]}' is no public key; it begins with {_PREFIX}")
    _bytes(text.removeprefix(_PREFIX), _KEY_BYTES)
    return text


def _signature(text: str) -> str:
    _bytes(text, _SIGNATURE_BYTES)
    return text


PublicKey = Annotated[str, AfterValidator(_public)]
"""`ed25519:` and 32 bytes in base64: what is written into configurations."""
Line = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Signature(Record):
    """One signature.

    Attributes:
        key: Of the signer.
        signer: Who that is, in their own words.
        at: When, as the signer says (ISO 8601, UTC).
    """

    key: PublicKey
    signer: Line
    at: Line
    signature: Annotated[str, AfterValidator(_signature)]

    @property
    def key_id(self) -> str:
        """Of the key."""
        return key_id(self.key)


class Signatures(Record):
    """The file beside what is signed.

    Attributes:
        sha256: Of what is signed.
    """

    schema_name: Literal["scanside.signatures/1"] = Field(alias="schema")
    kind: Kind
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    signatures: Annotated[tuple[Signature, ...], Field(min_length=1)]


@dataclass(frozen=True)
class SigningKey:
    """A private key, in memory."""

    private: "Ed25519PrivateKey"

    @classmethod
    def new(cls) -> Self:
        """Make one from the system's random numbers.

        Raises:
            ExtraMissingError: Without the package `cryptography`.
        """
        return cls(_ed25519().Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path, password: bytes | None = None) -> Self:
        """Read one as `write` wrote it.

        Raises:
            UsageError: If it cannot be read, its password is wrong, or others may read it.
            ExtraMissingError: Without the package `cryptography`.
        """
        ed25519 = _ed25519()
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            mode, data = path.stat().st_mode, path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"The private key {path} cannot be read ({error.strerror}); check its path."
            ) from error
        if mode & 0o077:
            raise UsageError(f"The private key {path} is open to other users; run: chmod 600 {path}.")
        try:
            key = load_pem_private_key(data, password)
        except TypeError as error:
            need = "has no password; leave it out" if password else "has a password; give it"
            raise UsageError(f"The private key {path} {need}.") from error
        except ValueError as error:
            raise UsageError(
                f"The private key {path} cannot be opened: it is damaged, or its password is another."
            ) from error
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise UsageError(f"{path} is no Ed25519 key; make one with `scanside keys new`.")
        return cls(key)

    def write(self, path: Path, password: bytes | None = None) -> None:
        """Write it as PEM (PKCS 8), for its owner alone; a file that exists is not replaced.

        Raises:
            OutputError: If there is such a file, or it cannot be written.
        """
        from cryptography.hazmat.primitives import serialization as form

        lock = form.BestAvailableEncryption(password) if password else form.NoEncryption()
        data = self.private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock)
        try:
            write_private(path, data)
        except OSError as error:
            raise OutputError(f"The key {path} cannot be written ({error.strerror}).") from error

    @property
    def public(self) -> str:
        """The public key, as a `PublicKey`."""
        return _PREFIX + base64.b64encode(self.private.public_key().public_bytes_raw()).decode()


def key_id(key: str) -> str:
    """A short name of a public key: 16 hexadecimal digits of its sha256."""
    return hashlib.sha256(_bytes(key.removeprefix(_PREFIX), _KEY_BYTES)).hexdigest()[:16]


def sign(data: bytes, kind: Kind, key: SigningKey, signer: str, at: datetime | None = None) -> Signature:
    """Sign bytes.

    Args:
        signer: Who signs: a person or an institution, in one line.
        at: When; None for now.

    Raises:
        UsageError: If `signer` is empty or longer than a line.
    """
    when = (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = key.private.sign(_message(hashlib.sha256(data).hexdigest(), kind, signer, when))
    try:
        return Signature(key=key.public, signer=signer, at=when, signature=base64.b64encode(made).decode())
    except ValidationError as error:
        raise UsageError("The signer is named in one line of up to 120 characters.") from error


def sign_file(
    document: Path, kind: Kind, key: SigningKey, signer: str, at: datetime | None = None
) -> Signature:
    """Sign a file; signatures by other keys that it has already are kept, one by the same key is replaced.

    Raises:
        InputError: If it cannot be read.
        SignatureError: If it has signatures that are not of it.
        OutputError: If the signature cannot be written.
    """
    data = _read(document)
    made = sign(data, kind, key, signer, at)
    others = tuple(one for one in signatures_of(document, data, kind) if one.key != made.key)
    file = Signatures(
        schema=SCHEMA, kind=kind, sha256=hashlib.sha256(data).hexdigest(), signatures=(*others, made)
    )
    with atomic_write(beside(document)) as temporary:
        temporary.write_text(json.dumps(file.model_dump(by_alias=True), indent=1) + "\n")
    return made


def verify_file(document: Path, kind: Kind) -> tuple[Signature, ...]:
    """The signatures of a file, each proven; none when nobody has signed it.

    Raises:
        InputError: If it cannot be read.
        SignatureError: If the file is not what was signed, or a signature is not by the key that it names.
    """
    return signatures_of(document, _read(document), kind)


def signatures_of(document: Path, data: bytes, kind: Kind) -> tuple[Signature, ...]:
    """As `verify_file`, of a file that has been read: what is verified is what is used.

    Args:
        data: The bytes of `document`.

    Raises:
        SignatureError: See `verify_file`.
    """
    path = beside(document)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SignatureError(f"The signatures {path} cannot be read ({error.strerror}).") from error
    try:
        found = Signatures.model_validate_json(text)
    except ValidationError as error:
        where, why = first_fault(error)
        raise SignatureError(
            f"The signatures {path} are damaged ({where or 'file'}: {why}); get them again."
        ) from error
    if found.kind != kind:
        raise SignatureError(
            f"The signatures {path} were made for use as '{found.kind}', not as '{kind}'; get the right file."
        )
    if found.sha256 != hashlib.sha256(data).hexdigest():
        raise SignatureError(
            f"{document} is not what was signed: it was altered since, or these signatures are of another file; "
            "get both again from the signer."
        )
    for number, one in enumerate(found.signatures, 1):
        _prove(one, found, path, number)
    return found.signatures


def beside(document: Path) -> Path:
    """Where the signatures of a file lie."""
    return document.with_name(document.name + SUFFIX)


def _prove(one: Signature, file: Signatures, path: Path, number: int) -> None:
    ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature

    key = ed25519.Ed25519PublicKey.from_public_bytes(_bytes(one.key.removeprefix(_PREFIX), _KEY_BYTES))
    try:
        key.verify(
            _bytes(one.signature, _SIGNATURE_BYTES), _message(file.sha256, file.kind, one.signer, one.at)
        )
    except InvalidSignature as error:
        raise SignatureError(
            f"Signature {number} of {path} is not by the key that it names ({key_id(one.key)}); "
            "it was altered, get it again from the signer."
        ) from error


def _message(sha256: str, kind: Kind, signer: str, at: str) -> bytes:
    """What is signed: no part can run into the next, since none holds an end of line."""
    return "\n".join(("scanside signature 1", kind, sha256, signer, at, "")).encode()


def _read(document: Path) -> bytes:
    try:
        return document.read_bytes()
    except OSError as error:
        raise InputError(f"{document} cannot be read ({error.strerror}); check its path.") from error


def _ed25519() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ExtraMissingError(
            f"Signatures need the package cryptography, which is not installed; run: {install_command('sign')}."
        ) from error
    return ed25519
