"""The precisions a network can be exported in, and how a person names them. Needs no library."""

from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.errors import UsageError

EXPORTED: tuple[FilePrecision, ...] = ("fp32", "mixed", "bf16", "int8")


def parse_precisions(text: str) -> tuple[FilePrecision, ...]:
    """`fp32,mixed` → the precisions, in the order of `EXPORTED`.

    Raises:
        UsageError: If one is unknown, or fp32 is missing: every other precision is judged against it.
    """
    asked = {part.strip() for part in text.split(",")}
    unknown = sorted(asked - set(EXPORTED))
    if unknown:
        raise UsageError(
            f"There is no precision '{unknown[0]}' to export; choose from {', '.join(EXPORTED)}."
        )
    if "fp32" not in asked:
        raise UsageError("A bundle needs its fp32 networks: every other precision is judged against them.")
    return tuple(precision for precision in EXPORTED if precision in asked)
