"""The page of a study in a real browser: every slice, outlines, keys, warnings; nothing is fetched from anywhere."""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.records import Warned
from scanside.runtime.appliance.store.states import State
from scanside.tui.browser import Pages
from scanside.tui.case.images import read_wanted
from scanside.tui.case.page import Sheet, page
from tests.tui.case.driving import opened
from tests.tui.case.made import latest
from tests.tui.case.test_images import data_of
from tests.tui.test_plain import Running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="NOT TESTED: there is no Chromium; install it to test the page in a real browser"
)
PRESS = """<script>{
const press = key => window.dispatchEvent(new KeyboardEvent("keydown", { key }));
const seen = [];
const look = () => seen.push({
  captions: [...document.querySelectorAll("figcaption")].map(one => one.textContent),
  leads: [...document.querySelectorAll("figure")].map(one => one.classList.contains("leads")),
  outlines: [...document.querySelectorAll(".picture img")].map(one => !one.hidden && one.naturalWidth > 0),
  mean: [...document.querySelectorAll("canvas")].map(one => {
    const data = one.getContext("2d").getImageData(0, 0, one.width, one.height).data;
    let sum = 0; for (let n = 0; n < data.length; n += 4) sum += data[n]; return 4 * sum / data.length; }),
});
const steps = [[], ["i"], ["i", "ArrowUp"], ["End"], ["g"], ["v"], ["b", "b"]];
const go = () => {
  const keys = steps.shift();
  if (!keys) { const out = document.createElement("pre"); out.id = "seen"; out.textContent = JSON.stringify(seen);
    document.body.append(out); return; }
  keys.forEach(press); setTimeout(() => { look(); go(); }, 300);
};
setTimeout(go, 300);
}</script>"""


@pytest.fixture(scope="module")
def text(reviewed: Config) -> str:
    data = data_of(reviewed)
    case = replace(data.case, warnings=(Warned("other", "one <b>& two"),), verdict=None)
    assert data.report is not None
    report = data.report.model_copy(update={"warnings": ("The lesions lie 106 mm <apart>.",)})
    sheets = [Sheet(one, read_wanted(one)) for one in data.wanted]
    return page(replace(data, case=case, report=report), sheets, names=False, now=0.0)


def in_chromium(text: str, folder: Path) -> str:
    file = folder / "page.html"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
         "--virtual-time-budget=8000", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    return done.stdout


@needs_chromium
def test_keys_turn_slices_outlines_lesions_and_windows(text: str, tmp_path: Path) -> None:
    dom = in_chromium(text.replace("</body>", f"{PRESS}</body>"), tmp_path)
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    assert found is not None, "the page's script did not run to its end"
    start, off, up, end, lesion, other, brighter = json.loads(
        found[1].replace("&lt;", "<").replace("&amp;", "&")
    )
    slices = [int(re.search(r"slice (\d+)/16", one["captions"][0])[1]) for one in (start, up, end)]  # type: ignore[index]
    assert slices[1] == slices[0] + 1 and slices[2] == 1, "up is towards the head, slice 1 is at the feet"
    assert start["outlines"][:2] == [True, True] and not any(off["outlines"])
    assert start["leads"][0] and "T2WI" in start["captions"][0] and "t2_tse_tra_fs" in start["captions"][0]
    assert re.search(r"[SI]\d+\.\d mm, \d+ mm apart", start["captions"][0]) and "W " in start["captions"][0]
    assert lesion["outlines"][0], "g goes to the lesion"
    assert not other["leads"][0] and any(other["leads"])
    place = other["leads"].index(True)
    assert brighter["mean"][place] > other["mean"][place] + 1, "b makes the leading image brighter"
    assert all(mean > 1 for mean in start["mean"][:2]), "there is a picture"


def test_it_says_what_decides_and_loads_nothing(text: str) -> None:
    assert "RESEARCH USE ONLY" in text and "SYNTHETIC" in text
    assert "The lesions lie 106 mm &lt;apart&gt;." in text and "<apart>" not in text
    assert "default-src 'none'" in text
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:)(?:https?:)?//""", text)
    assert "T2WI lesion 1" in text and " ml" in text


@pytest.fixture
def pages() -> Iterator[Pages]:
    made = Pages({"SSH_CONNECTION": "yes", "DISPLAY": ":0"})
    yield made
    made.close()


def test_over_ssh_it_is_read_once_at_an_address_that_cannot_be_guessed(pages: Pages) -> None:
    words = pages.show("CASE", "<p>page</p>")
    address = next(word for word in words.split() if word.startswith("http://127.0.0.1:"))
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(address.rpartition("/")[0] + "/guess", timeout=20)
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert answer.read() == b"<p>page</p>" and answer.headers["Cache-Control"] == "no-store"
    with pytest.raises(OSError):
        urllib.request.urlopen(address, timeout=20)


def test_on_a_desktop_the_file_is_private_and_goes_with_the_terminal(pages: Pages) -> None:
    file = pages.write("CASE", "text")
    assert file.parent.stat().st_mode & 0o077 == 0
    pages.close()
    assert not file.exists()


def test_in_lines_of_text_a_result_is_accepted_after_its_page_was_fetched(
    own: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepted nothing at all while images have to be opened first."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    case_id = data_of(own).case.case_id
    here = Running(own)
    here.wait(case_id)
    here.keys.type(f"accept {case_id}")
    here.wait("look at them first (open CASE), then accept.")
    here.keys.type(f"open {case_id}")
    said = here.wait("http://127.0.0.1:")
    assert "it was opened" not in said, "nobody has fetched it yet"
    address = next(word for word in said.split() if word.startswith("http://"))
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert case_id in answer.read().decode()
    here.wait(f"{case_id}: it was opened.")
    here.keys.type(f"accept {case_id}")
    here.wait("yes, yes and a reason, or no?")
    assert "NOT opened" not in here.out.getvalue()
    here.keys.type("yes")
    here.wait("accepted; it is now sending.")
    assert latest(own, case_id).state is State.SENDING
    here.end()


@pytest.mark.asyncio
async def test_o_makes_the_page_of_the_open_case(reviewed: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    async with opened(reviewed, data_of(reviewed).case.case_id) as driver:
        await driver.press("o")
        await driver.until(
            lambda: any("http://127.0.0.1:" in note.message for note in driver.app._notifications),
            "no address",
        )
        note = next(note.message for note in driver.app._notifications if "http://" in note.message)
        with urllib.request.urlopen(note.split()[1], timeout=20) as answer:
            assert driver.case.case_id in answer.read().decode()
