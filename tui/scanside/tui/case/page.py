"""A study as one page for a browser: every slice as PNG, outlines to switch, the result on top; no network.

Cells are never pixels: this is what a person looks at before deciding, where the terminal shows half blocks. Images
keep 8 bits of the range that the page names; contrast is changed within them.
"""

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.errors import InputError
from scanside.tui.case.data import CaseData, read_case
from scanside.tui.case.draw import CHOSEN
from scanside.tui.case.images import Shown, Wanted, read_wanted
from scanside.tui.case.pane import SYNTHETIC, UNITS
from scanside.tui.case.stack import Spot, Stack, edges, on_slice, place_words, slice_at, spots_in
from scanside.tui.format import RESEARCH, full_moment, patient_name, result_sentence, spoken, state_words

_TEMPLATE = Path(__file__).with_name("page.html")
_RANGE = (0.1, 99.9)
"""Percentiles of the image that become black and white of its PNGs."""
_FINE = 4
"""Pixels of an outline's picture to one of the image."""


@dataclass(frozen=True)
class Sheet:
    """An image on the page.

    Attributes:
        wanted: Which image it is.
        shown: It, read.
    """

    wanted: Wanted
    shown: Shown


def read_sheets(config: Config, case_id: str) -> tuple[CaseData, list[Sheet], list[str]]:
    """Read a study and its images; returns also the sentences of images that cannot be shown.

    Raises:
        InputError: If the study is not there.
    """
    with Database(config.database) as database:
        data = read_case(database, config, case_id)
    sheets, why = [], [data.no_images] if data.no_images else []
    for one in data.wanted:
        try:
            sheets.append(Sheet(one, read_wanted(one)))
        except InputError as error:
            why.append(str(error))
    return data, sheets, why


def page(data: CaseData, sheets: Sequence[Sheet], *, names: bool, now: float) -> str:
    """The page, as HTML.

    Args:
        sheets: At least one; the first one leads.
        names: Whether the patient's name may be on it.
        now: When it is made, for the page to say.
    """
    case, report = data.case, data.report
    warnings = report.warnings if report is not None else tuple(one.sentence for one in case.warnings or ())
    cautions = [f"{one.wanted.title}: {one.shown.caution}" for one in sheets if one.shown.caution]
    notes = [SYNTHETIC] if report is not None and report.synthetic else []
    if report is not None and report.reason:
        notes.append(report.reason)
    who = f"{patient_name(case)} · {case.case_id}" if names else case.case_id
    content = {
        "sheets": [_sheet(one, sheets) for one in sheets],
        "lesions": _lesions(data, sheets),
        "start": _start(sheets, data),
    }
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        research=RESEARCH,
        who=html.escape(who),
        state=html.escape(str(state_words(case))),
        result=html.escape(result_sentence(case)),
        warnings="".join(f"<li>{html.escape(spoken(words))}</li>" for words in (*warnings, *cautions)),
        notes="".join(f"<p>{html.escape(spoken(words))}</p>" for words in notes),
        made=html.escape(f"made {full_moment(now)[:16]}, images arrived {full_moment(case.arrived)[:16]}"),
        content=json.dumps(content).replace("<", "\\u003c"),
    )


def _sheet(sheet: Sheet, all_sheets: Sequence[Sheet]) -> dict[str, object]:
    stack, wanted = sheet.shown.stack, sheet.wanted
    low, high = (float(value) for value in np.percentile(stack.image, _RANGE))
    high = max(high, low + 1e-6)
    gray = np.rint(np.clip((stack.image - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    places = [on_slice(stack.geometry, number, stack.middle) for number in range(stack.count)]
    left, right, up, down = edges(stack.geometry)
    return {
        "title": wanted.title,
        "series": wanted.series,
        "unit": UNITS.get(wanted.sequence, "").strip(),
        "spacing": list(stack.geometry.spacing),
        "size": list(stack.geometry.shape),
        "range": [low, high],
        "window": list(stack.auto),
        "edges": [left, right, up, down],
        "z": [round(place[2], 1) for place in places],
        "slices": [_png(picture) for picture in gray],
        "outlines": [_outline(stack, number) for number in range(stack.count)],
        "others": [[slice_at(one.shown.stack.geometry, place) for one in all_sheets] for place in places],
    }


def _png(picture: npt.NDArray[np.uint8]) -> str:
    """A picture as the text of a data URL."""
    from PIL import Image

    image = Image.fromarray(picture)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=False)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def _outline(stack: Stack, number: int) -> str | None:
    """The outlines of a slice, finer than its pixels; None where it has no lesion."""
    if stack.lesions is None or not stack.lesions[number].any():
        return None
    covered = np.kron(stack.lesions[number] > 0, np.ones((_FINE, _FINE), bool))
    ring = ndimage.binary_dilation(covered, iterations=2) & ~covered
    picture = np.zeros((*ring.shape, 4), np.uint8)
    picture[ring] = (*CHOSEN, 255)
    return _png(picture)


def _spots(data: CaseData) -> list[Spot]:
    return spots_in(data.report)


def _lesions(data: CaseData, sheets: Sequence[Sheet]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for lesion in (data.report.lesions or ()) if data.report else ():
        at = [slice_at(sheet.shown.stack.geometry, lesion.centroid_mm) for sheet in sheets]
        own = next((s for s in sheets if s.wanted.sequence == lesion.role), None)
        span = own.shown.stack.slices_of(lesion.number) if own else None
        title = own.wanted.title if own else lesion.role
        found.append(
            {
                "name": f"{title} lesion {lesion.number}",
                "volume": f"{lesion.volume_ml:.2f} ml",
                "diameter": f"{lesion.longest_diameter_mm:.1f} mm",
                "place": place_words(lesion.centroid_mm),
                "slices": f"{span[0] + 1}–{span[1] + 1}" if span else "",
                "at": at,
            }
        )
    return found


def _start(sheets: Sequence[Sheet], data: CaseData) -> int:
    """The slice of the first image that the page opens at: of the largest lesion of it or of another."""
    stack = sheets[0].shown.stack
    spots = _spots(data)
    own = [spot for spot in spots if spot.role == sheets[0].wanted.sequence] or spots
    number = slice_at(stack.geometry, own[0].centre) if own else None
    return (stack.count - 1) // 2 if number is None else number
