"""Which features belong to which mask: what a model of one sequence alone may choose from."""

from collections.abc import Sequence

from scanside.runtime.errors import InputError
from scanside.runtime.radiomics.config import load_config
from scanside.runtime.radiomics.names import sequence_of
from scanside.training.experiment import Experiment
from scanside.training.signature.store import Roles


def roles_of(experiment: Experiment, features: Sequence[str]) -> Roles:
    """Role → its features; empty where features were imported from a table, which has no masks.

    Raises:
        InputError: If the recipe of the measurements cannot be read.
    """
    path = experiment.signature / "radiomics.yaml"
    if not path.exists():
        return {}
    try:
        config = load_config(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); run `scanside train signature` again."
        ) from error
    found: dict[str, tuple[int, ...]] = {}
    for index, name in enumerate(features):
        role = config.sequences[sequence_of(name)].role
        found[role] = (*found.get(role, ()), index)
    return found
