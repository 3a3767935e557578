"""`bench report`: plots and a page that needs nothing else, the same for the same results."""

import io
import re
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scanside.benchmarks.environment import environment
from scanside.benchmarks.results import Measurements, measured, quantity, write
from scanside.runtime.cli.main import run
from tests.benchmarks.samples import RECORD, appliance, drawn, latency, study


def scale() -> Measurements:
    points = [
        measured(
            f"{axis} {value}",
            {
                "axis": axis,
                "value": value,
                "shape": [8, 16, 16],
                "classes": classes,
                "tiles": 4,
                "studies": 1,
            },
            [
                drawn("whole", 100 * value, value, 3),
                drawn("in the network", 60 * value, value, 3),
                quantity("peak memory", "MiB", 100.0 + 10 * value),
                quantity("memory before", "MiB", 100.0),
            ],
        )
        for axis in ("voxels", "classes")
        for value, classes in ((2, 3), (4, 3), (8, 3), (30, 30))  # the last as with --large
    ]
    growth = measured("growth with voxels", {}, [quantity("whole ∝ n^", "1", 1.0)])
    fields = {"bundle": None, "golden": {}, "conditions": {"network": "made", "ceiling_mib": 4096.0}}
    return Measurements.model_validate(
        {**RECORD, **fields, "schema": "scanside.bench-scale/2", "measured": [*points, growth]}
    )


ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """What a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attributes if name in ("src", "href")]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("results")
    reports = {
        "run": latency(study(), study(name="a <b>/c", voxels=9000, seed=30), remarks=["noisy & hot"], headline=False),
        "appliance": appliance(),
        "scale": scale(),
    }  # fmt: skip
    for name, report in reports.items():
        write(report, folder / f"{name}.json")
    return [folder / f"{name}.json" for name in reports]


@pytest.fixture(scope="module")
def made(results: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What the command says that it wrote."""
    out = tmp_path_factory.mktemp("made") / "out"
    with redirect_stdout(io.StringIO()) as printed:
        assert run(["bench", "report", *map(str, results), "-o", str(out)]) == 0
    return [Path(line) for line in printed.getvalue().splitlines()]


def test_the_page_needs_nothing_else(made: list[Path]) -> None:
    assert made[0].name == "report.html" and all(path.stat().st_size > 1000 for path in made)
    assert {path.name for path in made[1:]} == {
        f"{name}.{ending}"
        for name in (
            "1-stages-small", "1-stages-a_b_c", "1-warm", "1-size", "2-parts-phantom-typical",
            "2-last_instance_to_report", "3-scale-voxels", "3-scale-classes",
        )
        for ending in ("png", "svg")
    }  # fmt: skip
    assert {path.name for path in made[0].parent.iterdir()} == {path.name for path in made}
    text = made[0].read_text()
    page = Page(text)
    assert page.sources and all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "script" not in page.tags and not re.search(r"https?://", text)
    assert page.tags.count("h2") == 3
    assert "pre" not in page.tags and page.tags.count("table") == 3 and page.tags.count("li") > 4
    assert 'name="viewport"' in text, "it can be read on a phone"
    cells = re.findall(r"<td>(.*?)</td>", text)
    assert "in the network" in cells and not any("|" in cell for cell in cells)
    assert "T2WI: slide" in text and "t2w:" not in text
    assert "Not to be quoted: noisy &amp; hot" in text and "a &lt;b&gt;/c" in text and "<b>" not in text


def test_the_same_results_give_the_same_files(made: list[Path], results: list[Path], tmp_path: Path) -> None:
    assert run(["bench", "report", *map(str, results), "-o", str(tmp_path / "again")]) == 0
    for path in made:
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_committed_peers_are_drawn(tmp_path: Path) -> None:
    committed = [f"results/benchmarks/peers-{name}.json" for name in ("hippocampus", "sixty")]
    assert run(["bench", "report", *(str(ROOT / name) for name in committed), "-o", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "1-cold.png", "1-cold.svg"}


def test_an_existing_page_is_not_replaced_unasked(
    results: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").write_text("mine")
    assert run(["bench", "report", str(results[0]), "-o", str(tmp_path)]) != 0
    assert "exists already" in capsys.readouterr().err and (tmp_path / "report.html").read_text() == "mine"


def test_facts_of_a_record_name_no_folder(tmp_path: Path) -> None:
    found = environment(["bench", "run", str(tmp_path / "x.bundle"), "-o", "latency.json"])
    assert found["command"] == ["scanside", "bench", "run", "x.bundle", "-o", "latency.json"]
