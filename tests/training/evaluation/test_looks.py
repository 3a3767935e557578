"""What a person sees of an evaluation: pictures that say what they show, a page that a phone can show."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from scanside.runtime.volume import Geometry
from scanside.training.evaluation.html import TEMPLATE
from scanside.training.evaluation.overlays import Slice, _draw, _height, _sides

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_an_example_says_sides_place_window_and_scale() -> None:
    image = np.tile(np.linspace(100, 300, 60), (40, 1))
    mask = np.zeros((40, 60), bool)
    mask[10:20, 20:30] = True
    geometry = Geometry((5, 40, 60), (6.0, 2.0, 1.0), (-30.0, -40.0, -42.0))
    cut = Slice(image, mask, mask, (2.0, 1.0), 3, 5, _sides(geometry), _height(geometry, 2))
    axis = Figure().subplots()
    _draw(axis, cut)
    words = [text.get_text() for text in axis.texts]
    assert words[:4] == ["R", "L", "A", "P"]
    assert words[4].splitlines() == ["I30.0 mm", "W 200 L 200"]
    (ruler,) = (line for line in axis.lines if line.get_marker() == "|")
    assert words[5] == "20 mm" and float(np.ptp(ruler.get_xdata())) == pytest.approx(20 / 1.0)


def test_sides_follow_how_the_image_lies() -> None:
    turned = Geometry((5, 40, 60), (6.0, 2.0, 1.0), (0, 0, 0), ((-1.0, 0, 0), (0, -1.0, 0), (0, 0, 1.0)))
    assert _sides(turned) == ("L", "R", "P", "A")


@pytest.mark.skipif(CHROMIUM is None, reason="NOT TESTED: there is no Chromium")
def test_on_a_phone_only_tables_and_figures_are_wider_than_the_screen(tmp_path: Path) -> None:
    """Figures were 350 pixels wide, too small to read, and a table's rows lost their names when it was moved."""
    assert CHROMIUM is not None
    style = re.search(r"<style>.*?</style>", TEMPLATE.read_text(), flags=re.DOTALL)
    assert style is not None
    wide = "".join(f"<td>{n}.123 (0.1–0.2)</td>" for n in range(16))
    page = tmp_path / "page.html"
    page.write_text(
        f'<!doctype html><html><head><meta name="viewport" content="width=device-width">{style[0]}</head><body><main>'
        f"<h1>Evaluation of phantom-254-seed-1-with-a-long-name</h1>"
        f'<div class="wide dense"><table><tr><td>lesions below 20 mm</td>{wide}</tr></table></div>'
        '<figure><img width="1400" height="700" src="data:image/gif;base64,R0lGODlhAQABAAAAACw="></figure></main>'
        "<script>onload = () => { const box = s => document.querySelector(s).getBoundingClientRect();"
        'const table = document.querySelector(".wide"); const before = box("td").left; table.scrollLeft = 300;'
        "document.body.append(Object.assign(document.createElement('pre'), { id: 'seen', textContent: JSON.stringify({"
        "page: document.documentElement.scrollWidth, screen: innerWidth, figure: box('img').width,"
        "moved: box('td').left - before }) })) }</script></body></html>"
    )
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=390,800", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout)
    assert found is not None, done.stderr
    seen = json.loads(found[1])
    assert seen["page"] <= seen["screen"], "nothing else is wider than the screen"
    assert seen["figure"] >= 480, "letters can be read"
    assert abs(seen["moved"]) < 20, "a row keeps its name when the table is moved"
