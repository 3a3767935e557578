"""OpenRecon's description of a container: what its schema 1.1.0 allows, as typed records.

Source: OpenReconSchema_1.1.0.json (`$id` https://siemens-healthineers.com/openrecon/engraving), as neurodesk/openrecon
carries it. Tests compare the verdict of these records with that of the schema itself.
"""

import base64
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scanside.runtime.record import Record

DOCKER_LABEL = "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"
"""Name of the image label that holds the description, in base64."""
_SEMVER = (
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$"
)
_Int32 = Annotated[int, Field(ge=-(1 << 31), le=(1 << 31) - 1, strict=True)]
_Id = Annotated[str, Field(pattern="^[A-Za-z0-9]+$")]


class Words(BaseModel):
    """A text in English, and perhaps in other languages."""

    model_config = ConfigDict(frozen=True, extra="allow")

    en: str


class _Unit(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    en: Annotated[str, Field(min_length=1, max_length=3)]


class Regulatory(Record):
    """Regulatory information; every field is a text that may be empty."""

    device_trade_name: str
    production_identifier: str
    manufacturer_address: str
    made_in: str
    manufacture_date: str
    material_number: str
    gtin: str
    udi: str
    safety_advices: str
    special_operating_instructions: str
    additional_relevant_information: str


class General(Record):
    """Who made the container, and what it is called."""

    name: Words
    version: Annotated[str, Field(pattern=_SEMVER)]
    vendor: str
    information: Words
    id: str
    regulatory_information: Regulatory
    license_string: str | None = None


class Protocol(BaseModel):
    """How scanner and container talk."""

    model_config = ConfigDict(frozen=True, extra="allow")

    protocol: Literal["ISMRMRD"]
    version: Literal["1.4.1"]


class Compression(Record):
    """What a container of raw data asks of the compression of channels."""

    require_state: Literal["on", "off"] | None = None
    require_number_target_channels: Annotated[int, Field(ge=1, strict=True)] | None = None


class Reconstruction(Record):
    """What the scanner has to give, and where it connects; memory in MB."""

    transfer_protocol: Protocol
    port: Annotated[int, Field(strict=True)]
    emitter: Literal["raw", "image"]
    injector: Literal["compleximage", "image"]
    can_use_gpu: Annotated[bool, Field(strict=True)]
    min_required_memory: Annotated[int, Field(ge=0, strict=True)]
    min_count_required_cpu_cores: Annotated[int, Field(ge=1, strict=True)]
    can_process_adjustment_data: Annotated[bool, Field(strict=True)] | None = None
    min_count_required_gpus: Annotated[int, Field(ge=0, strict=True)] | None = None
    min_required_gpu_memory: Annotated[int, Field(ge=0, strict=True)] | None = None
    content_qualification_type: Literal["PRODUCT", "SERVICE", "RESEARCH"] | None = None
    require_readout_filter_off: Annotated[bool, Field(strict=True)] | None = None
    channel_compression: Compression | None = None


class _Parameter(Record):
    id: _Id
    label: Words
    information: Words | None = None


class Truth(_Parameter):
    """A box to tick."""

    type: Literal["boolean"]
    default: Annotated[bool, Field(strict=True)]


class Text(_Parameter):
    """A line of text."""

    type: Literal["string"]
    default: str | None = None
    isLargeText: Annotated[bool, Field(strict=True)] | None = None


class Value(Record):
    """One of several."""

    id: str
    name: Words


class Choice(_Parameter):
    """One of several values."""

    type: Literal["choice"]
    default: str
    values: Annotated[tuple[Value, ...], Field(min_length=1)]


class Whole(_Parameter):
    """A whole number."""

    type: Literal["int"]
    minimum: _Int32
    maximum: _Int32
    default: _Int32
    unit: _Unit | None = None


class Number(_Parameter):
    """A number."""

    type: Literal["double"]
    minimum: float
    maximum: float
    default: float
    unit: _Unit | None = None


Parameter = Annotated[Truth | Text | Choice | Whole | Number, Field(discriminator="type")]


class Label(Record):
    """The whole description.

    Attributes:
        parameters: What the console shows; at most 14.
    """

    general: General
    reconstruction: Reconstruction
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=14)]

    @model_validator(mode="before")
    @classmethod
    def _no_null(cls, document: Any) -> Any:
        if _holds_null(document):
            raise ValueError("it holds null, which the schema knows nowhere: leave the key out")
        return document

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if any(one in self.parameters[:place] for place, one in enumerate(self.parameters)):
            raise ValueError("two parameters are the same")
        return self

    def text(self) -> str:
        """The description as a file holds it; what is not stated is left out."""
        return self.model_dump_json(indent=2, exclude_none=True) + "\n"

    def encoded(self) -> str:
        """The description as an image's label holds it."""
        return base64.b64encode(self.text().encode()).decode()


def _holds_null(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(_holds_null(one) for one in inside)
