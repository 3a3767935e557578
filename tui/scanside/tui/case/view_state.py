"""What is looked at: position, zoom, windows, outline. Pure functions from one to the next; no widget is known here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from scanside.runtime.volume import Triple
from scanside.tui.case.stack import Spot, Stack, index_of, on_slice, position, slice_at

Window = tuple[float, float]
ZOOMS = (1.0, 8.0)
_ZOOM, _NARROWER, _SHIFT = 1.25, 0.8, 0.1
_AROUND, _LEAST_MM, _FIRST_ZOOM = 3.0, 60.0, 4.0


@dataclass(frozen=True)
class Looking:
    """One position in the patient, seen in every image.

    Attributes:
        sequence: The image that keys act upon; `place` lies in the plane of one of its slices.
        place: Middle of the picture, (x, y, z), mm, LPS.
        zoom: 1 shows the whole slice.
        windows: Values that are black and white, where a person has changed them.
        outline: Whether lesions are outlined.
        spot: The lesion that was jumped to.
        lens: Whether a lens enlarges it.
    """

    sequence: str
    place: Triple
    zoom: float = 1.0
    windows: Mapping[str, Window] = field(default_factory=dict)
    outline: bool = True
    spot: Spot | None = None
    lens: bool = False

    def window(self, sequence: str, stack: Stack) -> Window:
        """The window of an image."""
        return self.windows.get(sequence, stack.auto)


def first_look(sequence: str, stack: Stack, spots: Sequence[Spot]) -> Looking:
    """The largest lesion of this image, or of another, in the middle and enlarged; else the whole middle slice."""
    own = [spot for spot in spots if spot.role == sequence] or list(spots)
    spot = own[0] if own else None
    number = slice_at(stack.geometry, spot.centre) if spot is not None else None
    if number is None or spot is None:
        return Looking(sequence, on_slice(stack.geometry, (stack.count - 1) // 2, stack.middle))
    zoom = _zoom_to(stack, spot.number)
    place = spot.centre if zoom > 1 else stack.middle
    return Looking(sequence, on_slice(stack.geometry, number, place), zoom=zoom, spot=spot)


def _zoom_to(stack: Stack, lesion: int) -> float:
    """How much a lesion is enlarged at first: it takes a third of the picture, which shows 60 mm at least."""
    rows, columns = stack.extent(lesion)
    wide = max(_AROUND * rows, _AROUND * columns, _LEAST_MM)
    geometry = stack.geometry
    whole = max(geometry.shape[axis] * geometry.spacing[axis] for axis in (1, 2))
    return min(max(whole / wide, ZOOMS[0]), _FIRST_ZOOM)


def turned_to(looking: Looking, sequence: str, stack: Stack) -> Looking:
    """Act upon another image, at the same position; at its nearest end where it does not reach so far."""
    return replace(looking, sequence=sequence, place=_in_plane(stack, looking.place))


def scrolled(looking: Looking, stack: Stack, slices: int) -> Looking:
    """So many slices towards the head; towards the feet if negative."""
    number = round(index_of(stack.geometry, looking.place)[0]) + slices
    return replace(
        looking,
        place=on_slice(stack.geometry, min(max(number, 0), stack.count - 1), looking.place),
    )


def panned(looking: Looking, stack: Stack, down: float, right: float) -> Looking:
    """Moved by mm in the plane of the slices; the middle of the picture stays on the image."""
    geometry = stack.geometry
    z, y, x = index_of(geometry, looking.place)
    y = min(max(y + down / geometry.spacing[1], 0), geometry.shape[1] - 1)
    x = min(max(x + right / geometry.spacing[2], 0), geometry.shape[2] - 1)
    return replace(looking, place=position(geometry, (z, y, x)))


def zoomed(looking: Looking, stack: Stack, steps: int) -> Looking:
    """Larger, or smaller if negative. What is enlarged first is the lesion that is looked at, not the middle."""
    zoom = min(max(looking.zoom * _ZOOM**steps, ZOOMS[0]), ZOOMS[1])
    zoom = 1.0 if abs(zoom - 1) < 1e-6 else zoom
    place = looking.place
    number = slice_at(stack.geometry, looking.place)
    if looking.zoom == 1 and zoom > 1 and looking.spot is not None and number is not None:
        spot = slice_at(stack.geometry, looking.spot.centre)
        place = on_slice(stack.geometry, number, looking.spot.centre) if spot is not None else place
    return replace(looking, zoom=zoom, place=place)


def windowed(looking: Looking, stack: Stack, narrower: float = 0, darker: float = 0) -> Looking:
    """The window narrower (more contrast) and its level higher (darker) by steps."""
    low, high = looking.window(looking.sequence, stack)
    middle, width = (low + high) / 2, (high - low) * _NARROWER**narrower
    middle += darker * _SHIFT * (high - low)
    window = (middle - width / 2, middle + width / 2)
    return replace(looking, windows={**looking.windows, looking.sequence: window})


def outlined(looking: Looking, stack: Stack) -> Looking:
    """Outlines on, or off."""
    return replace(looking, outline=not looking.outline)


def lensed(looking: Looking, stack: Stack) -> Looking:
    """The lens on, or off."""
    return replace(looking, lens=not looking.lens)


def anew(looking: Looking, stack: Stack) -> Looking:
    """The whole slice with its own window again; the slice and the outline stay."""
    number = round(index_of(stack.geometry, looking.place)[0])
    windows = {name: window for name, window in looking.windows.items() if name != looking.sequence}
    return replace(looking, zoom=1.0, windows=windows, place=on_slice(stack.geometry, number, stack.middle))


def next_spot(looking: Looking, stack: Stack, spots: Sequence[Spot], steps: int) -> Spot | None:
    """The next lesion of the report, or one before; one beyond the image is passed over, None when none is left."""
    reached = [spot for spot in spots if slice_at(stack.geometry, spot.centre) is not None]
    if not reached:
        return None
    if looking.spot in reached:
        return reached[(reached.index(looking.spot) + steps) % len(reached)]
    return reached[0 if steps > 0 else -1]


def jumped_to(looking: Looking, stack: Stack, spot: Spot) -> Looking:
    """To a lesion, shown with its outline; where the view is enlarged, to its middle."""
    place = spot.centre if looking.zoom > 1 else looking.place
    number = slice_at(stack.geometry, spot.centre)
    if number is None:
        return looking
    return replace(looking, spot=spot, outline=True, place=on_slice(stack.geometry, number, place))


def _in_plane(stack: Stack, place: Triple) -> Triple:
    number = slice_at(stack.geometry, place)
    if number is None:
        number = 0 if index_of(stack.geometry, place)[0] < 0 else stack.count - 1
    return on_slice(stack.geometry, number, place)
