"""Which destination gets which objects of a result."""

from collections.abc import Sequence

from scanside.runtime.appliance.config import Destination, ResultStatus
from scanside.runtime.appliance.store.records import Made


def sends_to(
    destinations: Sequence[Destination], status: ResultStatus, calling: str, objects: Sequence[Made]
) -> tuple[tuple[str, Made], ...]:
    """Apply every destination's rule.

    Args:
        status: Of the result, as in result.json.
        calling: AE title that the study came from.
        objects: In the order in which they are to be sent: what is referred to before what refers to it.

    Returns:
        (name of the destination, object), each once; for `Outcome.sends`.
    """
    sends: dict[tuple[str, Made], None] = {}
    for destination in destinations:
        rule = destination.rule
        if rule.calling and calling.strip() not in rule.calling:
            continue
        kinds = rule.kinds_of(status)
        sends.update(((destination.name, made), None) for made in objects if made.kind in kinds)
    return tuple(sends)
