"""A report as one page that needs nothing else: to be printed on A4, signed with a pen, and filed."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources

from scanside.runtime.acceptance.record import TITLES, Check, Family, Figure, Report

_MARKS = {"passed": ("✓", "passed"), "failed": ("✗", "failed"), "not done": ("–", "open")}
_MOST_VALUES = 3


def page_of(report: Report, more: str = "") -> str:
    """The whole page.

    Args:
        more: A section of HTML behind the checks, such as charts.
    """
    style = resources.files("scanside.runtime.acceptance").joinpath("page.css").read_text(encoding="utf-8")
    body = "\n".join(
        [_head(report), _attention(report), *_sections(report), more, _signature(), _facts(report)]
    )
    title = f"Acceptance {report.started[:10]}{', ' + report.site if report.site else ''}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _head(report: Report) -> str:
    bundle = report.bundle
    model = f"{bundle['name']} {bundle['version']}" if bundle else "no bundle opens"
    rows = {
        "Site": report.site or "not stated",
        "Run by": report.by,
        "When": f"{_moment(report.started)} to {_moment(report.finished)[11:]}",
        "Machine": report.machine.get("host", ""),
        "Program": f"Scanside {report.versions.get('scanside', '')}",
        "Bundle": model + (", trained on a synthetic phantom" if report.synthetic else ""),
    }
    verdict = "passed" if report.passed else "failed"
    return (
        f"<header><h1>Acceptance of a Scanside installation</h1><p class=notice>{escape(report.notice)}</p>"
        f'<p class="verdict {verdict}">{escape(report.verdict)}</p>{_table(rows)}</header>'
    )


def _moment(text: str) -> str:
    return text[:16].replace("T", " ")


def _attention(report: Report) -> str:
    """What failed and what is open, before everything else."""
    parts = []
    for outcome, title in (
        ("failed", "What failed, and what to do"),
        ("not done", "What was not done, and why"),
    ):
        found = [check for check in report.checks if check.result.outcome == outcome]
        if found:
            lines = "".join(
                f"<li><b>{escape(TITLES[check.family])}: {escape(check.name)}.</b> {escape(check.sentence)}</li>"
                for check in found
            )
            parts.append(f'<section class="{_MARKS[outcome][1]}"><h2>{title}</h2><ul>{lines}</ul></section>')
    return "\n".join(parts)


def _sections(report: Report) -> Iterator[str]:
    for family, title in TITLES.items():
        found = [check for check in report.checks if check.family == family]
        if found:
            yield _section(family, title, found)


def _section(family: Family, title: str, checks: Sequence[Check]) -> str:
    rows = "".join(_row(check) for check in checks)
    return f'<section id="{family}"><h2>{escape(title)}</h2><table class=checks>{rows}</table></section>'


def _row(check: Check) -> str:
    mark, style = _MARKS[check.result.outcome]
    figures = "".join(f"<li>{escape(words)}</li>" for words in map(_figure, check.figures))
    below = f"<ul class=figures>{figures}</ul>" if figures else ""
    return (
        f'<tr class="{style}"><td class=mark title="{check.result.outcome}">{mark}</td><th>{escape(check.name)}</th>'
        f"<td>{escape(check.sentence)}{below}</td></tr>"
    )


def _figure(figure: Figure) -> str:
    """A figure in words; of many values the middle and the ends."""
    values = sorted(figure.values)
    unit = "" if figure.unit == "1" else f" {figure.unit}"
    if len(values) <= _MOST_VALUES:
        return f"{figure.name}: {', '.join(_number(value) for value in figure.values)}{unit}"
    middle = values[len(values) // 2]
    ends = f"{_number(values[0])} to {_number(values[-1])}"
    return f"{figure.name}: median {_number(middle)}{unit}, {ends}{unit}, {len(values)} values"


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.3g}"


def _facts(report: Report) -> str:
    parts = [
        ("Machine", report.machine),
        ("Bundle", {**report.bundle} or {"bundle": "none opens"}),
        ("Settings", report.settings),
        ("Versions", report.versions),
        ("Licences, as the packages state them", report.licences),
    ]
    sections = (f"<section class=facts><h2>{title}</h2>{_table(rows)}</section>" for title, rows in parts)
    return f"<h1 class=behind>What it was measured with</h1>{''.join(sections)}"


def _table(rows: Mapping[str, str]) -> str:
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items()
    )
    return f"<table class=rows>{lines}</table>"


def _signature() -> str:
    return (
        "<section class=sign><h2>Signature</h2><p>I have read this report.</p>"
        "<table><tr><td>Name</td><td></td><td>Date</td><td></td><td>Signature</td><td></td></tr></table></section>"
    )
