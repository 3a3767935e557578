"""Opening the networks of a segmenter, and what the device lends of its memory."""

from dataclasses import dataclass

from scanside.runtime.backends.session import Session
from scanside.runtime.backends.table import backend, file_precision, open_session
from scanside.runtime.bundle import Bundle
from scanside.runtime.device.case import Device
from scanside.runtime.errors import BundleError, UsageError
from scanside.runtime.manifest import Network
from scanside.runtime.options import Options
from scanside.runtime.plan import Plan


@dataclass(frozen=True)
class Stage:
    """One stage of the chain: its recipe and opened networks, one a fold.

    Attributes:
        device: The networks between arrays of the device, where it lends its memory.
    """

    role: str
    plan: Plan
    sessions: tuple[Session, ...]
    device: Device | None = None


def open_stage(bundle: Bundle, role: str, options: Options, device: str) -> Stage:
    """Open the networks of one stage, all or none.

    Raises:
        UsageError: If the options name a fold that the segmenter does not have.
        BundleError: If a network's file is damaged, does not fit the plan or lacks the precision asked for.
        BackendError: If the device does not open.
    """
    segmenter = bundle.manifest.segmenters[role]
    networks = _networks(bundle, role, options)
    kind = file_precision(device, options.precision)
    sessions: list[Session] = []
    try:
        for network in networks:
            path = network.files.get(kind)
            if path is None:
                raise BundleError(
                    f"Fold {network.fold} of '{role}' was exported without precision '{kind}'; "
                    f"export it again with --precision fp32,{kind}."
                )
            sessions.append(open_session(device, bundle.read(path), options.precision, options.threads))
            _check_network(sessions[-1], segmenter.plan, role)
        lend = backend(device).on_device
        around = lend(sessions) if lend and not options.skip_empty_tiles else None
    except BaseException:
        for session in sessions:
            session.close()
        raise
    return Stage(role, segmenter.plan, tuple(sessions), around)


def _networks(bundle: Bundle, role: str, options: Options) -> list[Network]:
    """The networks of the folds asked for, in the order asked for."""
    networks = {network.fold: network for network in bundle.manifest.segmenters[role].networks}
    chosen = tuple(networks) if options.folds is None else options.folds
    unknown = [fold for fold in chosen if fold not in networks]
    if unknown or not chosen:
        raise UsageError(
            f"Segmenter '{role}' has no fold {', '.join(unknown) or '(none given)'}; it has {', '.join(networks)}."
        )
    return [networks[fold] for fold in chosen]


def _check_network(session: Session, plan: Plan, role: str) -> None:
    expected = (plan.input_channels, *plan.patch_size)
    if session.spec.input_shape != expected or session.spec.heads != plan.labels.heads:
        raise BundleError(
            f"The network of '{role}' takes {session.spec.input_shape} and gives {session.spec.heads} channels, but "
            f"its plan says {expected} and {plan.labels.heads}; export the bundle again."
        )
