"""Whether a network can be the start of a training, wherever its weights and its plan lie."""

from collections.abc import Mapping
from pathlib import Path

from scanside.runtime.errors import InputError
from scanside.training.segmentation.dataset import LABELS
from scanside.training.segmentation.settings import Settings


def refuse_same_cohort(where: Path, trained_on: object, cohort_sha256: str) -> None:
    """Refuse a network that saw the patients of this cohort.

    Args:
        trained_on: Hash of the table of its cohort, as far as that is known.

    Raises:
        InputError: If it is this cohort.
    """
    if trained_on == cohort_sha256:
        raise InputError(
            f"{where} was trained on this very cohort, so that no mask could be out of fold; "
            "pre-train on other patients."
        )


def refuse_unlike(
    where: Path,
    settings: Settings,
    *,
    channels: tuple[str, ...],
    labels: Mapping[str, object] | None,
    configuration: str,
) -> None:
    """Refuse a network whose layers do not fit this training.

    Args:
        channels, labels, configuration: Of the network, in nnU-Net's words.

    Raises:
        InputError: If one of them is another than the training's.
    """
    if channels != settings.channels:
        raise InputError(
            f"The network of {where} sees {','.join(channels)}, and this training "
            f"{','.join(settings.channels)}; its first layer does not fit."
        )
    if labels != LABELS:
        raise InputError(
            f"The network of {where} tells other labels apart ({labels}) than {LABELS}; its last layer does not fit."
        )
    if configuration != settings.configuration:
        raise InputError(
            f"The network of {where} is of nnU-Net's configuration {configuration}, and this "
            f"training of {settings.configuration}."
        )
