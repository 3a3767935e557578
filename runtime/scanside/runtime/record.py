"""The two kinds of typed record: what a configuration or bundle holds, and what a report says.

Both are frozen pydantic models, so that reading one checks it, and so that its JSON schema is generated from it.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import GenerateJsonSchema

Words = Annotated[str, Field(json_schema_extra={"minLength": 1})]
"""A text that says something. It may hold a file's name, and so bytes that are no UTF-8, which a real bound refuses."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Uid = Annotated[str, Field(pattern="^[0-9.]{1,64}$")]
"""A DICOM unique identifier."""
Milliseconds = Annotated[float, Field(ge=0)]


def _inside(path: str) -> str:
    """A path that cannot leave the bundle."""
    if (
        not path
        or path.startswith("/")
        or "\\" in path
        or any(part in ("", ".", "..") for part in path.split("/"))
    ):
        raise ValueError(f"'{path}' is not a path inside the bundle")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]
"""A file of a bundle."""


class Record(BaseModel):
    """A frozen record that refuses unknown fields: what the runtime does not know it must not ignore."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Part(BaseModel):
    """A part of a document that this program writes and reads back.

    A later program may add fields, which are passed over; the document's `schema` changes when a field goes, or means
    something else.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        populate_by_name=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


class Document(Part):
    """A whole document. Each kind of it has a field `schema_`, written `schema`, with its name and version."""

    def data(self) -> dict[str, Any]:
        """The document as JSON has it, its schema first."""
        return self.model_dump(mode="json", by_alias=True)

    def text(self) -> str:
        """The document as a file holds it."""
        return json.dumps(self.data(), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            OSError: If it cannot be read.
            ValidationError: If it is no such document.
        """
        return cls.model_validate_json(path.read_bytes())


class _Closed(GenerateJsonSchema):
    """Schemas of what this program writes: it adds no field that they do not name, and leaves none out."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        made = super().model_schema(schema)
        made.setdefault("additionalProperties", False)
        return made


def json_schema(record: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a record as it is written."""
    made = record.model_json_schema(by_alias=True, mode="serialization", schema_generator=_Closed)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Where a record is not valid (empty for the record as a whole), and why, in pydantic's words."""
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]), str(first["msg"])
