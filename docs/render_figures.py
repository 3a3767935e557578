"""Write measured figures into the documents, from the committed results files.

A document marks a place with `<!-- figures: NAME -->` and `<!-- /figures -->`. Between them stands the template
`docs/figures/NAME.md`, whose `{placeholders}` are filled from `results/`. Run `make figures` after a results file or a
template has changed; a test compares every document with what this script would write.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
TEMPLATES = ROOT / "docs" / "figures"
_BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- /figures -->)", re.DOTALL)


class NotToBeQuotedError(Exception):
    """A document asks for a figure of a run that called itself unfit to be quoted."""


def read(path: str) -> dict[str, Any]:
    """A results file below `results/`.

    Raises:
        NotToBeQuotedError: If the run noted that it was disturbed (`"headline": false`).
    """
    found: dict[str, Any] = json.loads((RESULTS / path).read_text())
    if found.get("headline") is False:
        raise NotToBeQuotedError(f"results/{path} is not to be quoted: {' '.join(found['remarks'])}")
    return found


def seconds(value: float) -> str:
    """Three significant digits: `0.90 s`, `44.2 s`, `184 s`."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}\N{NO-BREAK SPACE}s"


def times(ratio: dict[str, float]) -> str:
    """`2.6–3.0 ×` where rounds differ in what is shown, else `7.2 ×`."""
    low, high = (f"{ratio[end]:.1f}" if ratio[end] < 10 else f"{ratio[end]:.0f}" for end in ("min", "max"))
    return f"{low}\N{NO-BREAK SPACE}×" if low == high else f"{low}–{high}\N{NO-BREAK SPACE}×"


def peers() -> Iterator[tuple[str, str]]:
    """`<file>.<what>.<peer>` and, for the ratio to nnunetv2, `<file>.<what>.<peer>.times`."""
    for name in ("abdomen", "hippocampus", "pelvis-mirroring", "sixty", "classes-30"):
        found = read(f"benchmarks/peers-{name}.json")
        part = found["together"] or found["cases"][0]
        for metric in part["metrics"]:
            shown = {
                "wall": ("time", seconds),
                "peak_memory": ("memory", lambda mib: f"{mib:.0f}\N{NO-BREAK SPACE}MiB"),
            }
            what, write = shown.get(metric["name"], ("", str))
            if not what or (metric["mode"] == "warm" and metric["name"] == "peak_memory"):
                continue
            stem = f"{name}.{'warm-' if metric['mode'] == 'warm' else ''}{what}"
            for peer, value in metric["median"].items():
                short = peer.removeprefix("openvino:")
                yield f"{stem}.{short}", write(value)
                if peer in metric["ratio"]:
                    yield f"{stem}.{short}.times", times(metric["ratio"][peer])
        for modes in part.get("labels", {}).values():
            for peer, labels in modes.items():
                lowest = min(dice for dice in labels["dice"].values() if dice is not None)
                yield f"{name}.dice.{peer.removeprefix('openvino:')}", f"{lowest:.4f}"
                yield f"{name}.differing.{peer.removeprefix('openvino:')}", f"{labels['differing']:,}"


def parity() -> Iterator[tuple[str, str]]:
    """Voxels that differ from nnUNetPredictor's over a folder of images."""
    found = read("benchmarks/parity-hippocampus.json")
    yield "parity.images", str(found["images"])
    for device, total in found["totals"].items():
        yield f"parity.{device}.differing", f"{total['differing']:,}"
        yield f"parity.{device}.voxels", f"{total['voxels']:,}"


def install() -> Iterator[tuple[str, str]]:
    """Size of the environments."""
    lean, full, cpu = read("benchmarks/install.json")["installs"]
    yield "install.lean", f"{lean['megabytes'] / 1000:.2f} GB"
    yield "install.nnunetv2", f"{full['megabytes'] / 1000:.1f} GB"
    yield "install.nnunetv2-cpu", f"{cpu['megabytes'] / 1000:.1f} GB"
    yield "install.times", f"{full['megabytes'] / lean['megabytes']:.1f}"
    yield "install.megabytes", f"{lean['megabytes']:.0f} MB"
    yield "install.without-onnxruntime", f"{lean['megabytes'] - lean['parts']['onnxruntime']:.0f} MB"
    yield "install.without-openvino", f"{lean['megabytes'] - lean['parts']['openvino']:.0f} MB"
    yield "install.without-simpleitk", f"{lean['megabytes'] - lean['parts']['simpleitk']:.0f} MB"
    yield "install.parts", "\n".join(f"| {name} | {size:.1f} |" for name, size in lean["parts"].items())


def radiomics() -> Iterator[tuple[str, str]]:
    """The signature's features beside plain pyradiomics."""
    study = read("benchmarks/radiomics.json")["studies"][0]
    yield "radiomics.times", f"{study['ratio']['median']:.1f} ×"
    yield "radiomics.error", f"{max(one['error'] for one in study['features'].values()):.0e}"


def soak() -> Iterator[tuple[str, str]]:
    """Studies under fire."""
    found = read("soak/soak.json")
    yield "soak.studies", f"{found['studies']:,}"
    yield "soak.kills", f"{found['kills_in_all']:,}"
    yield "soak.lost", str(found["lost"])
    yield "soak.twice", str(found["duplicated"])
    kills = sorted(found["kills"].items(), key=lambda one: -one[1])
    yield "soak.by.process", ", ".join(f"{process} {count} times" for process, count in kills)
    for mood in ("refuse", "hang", "cut"):
        yield f"soak.{mood}", str(found["moods_of_the_pacs"][mood])
    for way in ("split", "again", "corrected", "forgotten"):
        yield f"soak.{way}", str(found["ways"][way])
    yield "soak.steps", str(found["ways"]["told by procedure steps"])


def terminal() -> Iterator[tuple[str, str]]:
    """What the terminal takes with 5,000 studies."""
    found = read("benchmarks/tui.json")
    yield "tui.studies", f"{found['studies']:,}"
    yield "tui.opening", f"{found['opening_s']['p50']:.2f} s"
    yield "tui.key", f"{1000 * found['key_to_paint_s']['p95']:.0f} ms"
    yield "tui.idle", f"{100 * found['idle_cpu_part']:.1f} %"


def interval(found: dict[str, Any], key: str = "interval", of: str = "value") -> str:
    """`0.44 (0.38–0.50)`."""
    low, high = found[key]
    return f"{found[of]:.2f} ({low:.2f}–{high:.2f})"


def _study(path: str, stem: str) -> Iterator[tuple[str, str]]:
    """A study on the phantom: `<stem>.dice.<role>.<part>.<scanners>.<size>`, `<stem>.auc.<model>.<part>`."""
    found = read(path)
    for row in found["segmentation"]["rows"]:
        where = f"{row['role']}.{row['part']}.{row['scanners']}.{row['size']}".replace(" ", "-")
        yield f"{stem}.dice.{where}", interval(row["dice"])
        yield f"{stem}.missed.{where}", str(row["missed"])
    for model in found["classification"]["models"]:
        name = f"{model['model']}.{model['part']}"
        if model["auc"]:
            yield f"{stem}.auc.{name}", interval(model["auc"], "delong")
            yield f"{stem}.answered.{name}", str(model["auc"]["patients"])
        for status, count in model["statuses"].items():
            yield f"{stem}.status.{name}.{status.replace(' ', '-')}", str(count)
        if model["model"] == "deployed" and model["wrong_regions"]:
            yield f"{stem}.wrong.{model['part']}", str(model["wrong_regions"]["wrong"])
            yield f"{stem}.region.{model['part']}", str(model["wrong_regions"]["patients"])
    for added in found["classification"]["added"]:
        low, high = added["interval"]
        shown = f"{added['difference']:.2f} ({low:.2f} to {high:.2f})"
        yield f"{stem}.added.{added['part']}", shown.replace("-0.00", "0.00")
        yield f"{stem}.added.patients.{added['part']}", str(added["patients"])
        yield f"{stem}.added.lr.{added['part']}", f"{added['likelihood_ratio']:.1f}"
        yield f"{stem}.added.p.{added['part']}", f"{added['likelihood_ratio_p']:.2g}"
    for one in found["published"]:
        yield f"{stem}.published.{one['quantity'].replace(' ', '-')}.{one['part']}", f"{one['published']:g}"
    yield from _by_training_sizes(found["segmentation"]["rows"], stem)
    answered = next(
        m for m in found["classification"]["models"] if (m["model"], m["part"]) == ("deployed", "test")
    )
    part = answered["statuses"]["ok"] / found["cohort"]["test"]
    yield f"{stem}.answered", f"{100 * part:.0f} %"
    wrong = answered["wrong_regions"]
    yield f"{stem}.wrong", f"{100 * wrong['wrong'] / wrong['patients']:.1f} %"
    yield f"{stem}.train", str(found["cohort"]["train"])
    yield f"{stem}.test", str(found["cohort"]["test"])


def _by_training_sizes(rows: list[dict[str, Any]], stem: str) -> Iterator[tuple[str, str]]:
    """`<stem>.standard.<role>`: mean test Dice by the sizes of the training patients; `<stem>.small.<part>`."""
    of = {(row["role"], row["part"], row["size"]): row for row in rows if row["scanners"] == "all"}
    for role in ("t2w", "dwi"):
        sizes = [size for where, part, size in of if (where, part) == (role, "test") and size != "all"]
        weights = [of[role, "cross-validated", size]["patients"] for size in sizes]
        dice = [of[role, "test", size]["dice"]["value"] for size in sizes]
        mean = sum(w * d for w, d in zip(weights, dice, strict=True)) / sum(weights)
        yield f"{stem}.standard.{role}", f"{mean:.2f}"
    for part in ("test", "cross-validated"):
        yield f"{stem}.small.{part}", str(of["t2w", part, "< 20 mm"]["patients"])


def phantom() -> Iterator[tuple[str, str]]:
    """The study on the phantom, `phantom.…`; and `first.…`, with the same networks, each sequence alone."""
    yield from _study("phantom-254-fused/report.json", "phantom")
    yield from _study("phantom-254/report.json", "first")


def fused() -> Iterator[tuple[str, str]]:
    """What T2WI gains from DWI: `fused.<role>.<part>.<size>.<alone, together, difference, missed-alone, …>`."""
    for row in read("phantom-254-fused/report.json")["segmentation"]["fused"]:
        stem = f"fused.{row['role']}.{row['part']}.{row['size'].replace(' ', '-')}"
        for what in ("alone", "together"):
            yield f"{stem}.{what}", interval(row[what])
            yield f"{stem}.missed-{what}", str(row[f"missed_{what}"])
        low, high = row["difference"]["interval"]
        yield f"{stem}.difference", f"{row['difference']['value']:.2f} ({low:.2f} to {high:.2f})"
        yield f"{stem}.patients", str(row["patients"])


def folds() -> Iterator[tuple[str, str]]:
    """The networks of a segmenter one by one: `folds.<role>`, `folds.<role>.sd`, `folds.<role>.within`."""
    for role, found in read("phantom-254-fused/folds.json").items():
        yield f"folds.{role}", ", ".join(f"{one['mean']:.2f}" for one in found["networks"].values())
        yield f"folds.{role}.sd", f"{found['sd_of_means']:.3f}"
        yield f"folds.{role}.within", f"{found['sd_within_patient']:.2f}"


def contrast() -> Iterator[tuple[str, str]]:
    """Out-of-fold Dice by contrast, diagnosis and size, and beside shorter training: `contrast.<role>.<stratum>`."""
    for role, found in read("phantom-254/contrast.json").items():
        for name, stratum in {**found["by"], **found["same_patients"]}.items():
            stem = f"contrast.{role}.{name.replace(' ', '-')}"
            yield stem, interval(stratum, of="mean")
            yield f"{stem}.patients", str(stratum["patients"])
            yield f"{stem}.zero", str(stratum["zero"])


def ceiling() -> Iterator[tuple[str, str]]:
    """Observers that know the phantom: `ceiling.<role>.<stratum>.<observer>`, `ceiling.together.<who>.<both>`."""
    found = read("phantom-254/ceiling.json")
    for row in found["strata"]:
        stem = f"ceiling.{row['role']}.{row['name']}".replace(" ", "-")
        for what in ("reached", "template", "outline", "clutter", "grid"):
            yield f"{stem}.{what}", f"{row[what]['value']:.2f}"
        yield f"{stem}.clutter-right", f"{100 * row['clutter_right']['value']:.0f} %"
        yield f"{stem}.below", str(row["outline_below"])
        yield f"{stem}.patients", str(row["patients"])
        yield f"{stem}.d-prime", f"{row['d_prime_lowest']:.0f}"
    for row in found["together"]:
        for what in ("both", "one", "none"):
            yield f"ceiling.together.{row['who']}.{what}", str(row[what])
        yield f"ceiling.together.{row['who']}.incomplete", str(row["one"] + row["none"])
    for row in found["missed"]:
        for what in ("missed", "template", "clutter"):
            yield f"ceiling.missed.{row['role']}.{what}", str(row[what])
    low, high = found["oracle"]["delong"]
    yield "ceiling.oracle", f"{found['oracle']['auc']:.2f} ({low:.2f}–{high:.2f})"
    for row in read("phantom-254/report.json")["classification"]["ablation"]:
        yield f"ceiling.masks.{row['masks'].replace(' ', '-').replace(',', '')}", interval(row["auc"])


def gpu_prediction() -> Iterator[tuple[str, str]]:
    """What cards that nobody had can do at best: `gpu.<card>.<case>.tile`, `.floor`, `.published`."""
    found = read("benchmarks/gpu-prediction.json")
    for card in found["cards"]:
        yield f"gpu.{card['name'].replace(' ', '-')}.card", f"{card['tflops']:g}, {card['gb_s']:g}"
    for one in found["predictions"]:
        stem = f"gpu.{one['card'].replace(' ', '-')}.{one['case']}"
        yield f"{stem}.tile", f"{one['tile_ms']:.3g} ms"
        yield f"{stem}.floor", seconds(one["floor"])
        yield f"{stem}.published", seconds(one["at_published_part"])
    for name, value in found["host"]["cpu_s"].items():
        yield f"gpu.host.{name.replace(' ', '-')}", seconds(value)


def gpu_path() -> Iterator[tuple[str, str]]:
    """The device path without a GPU: `gpu.device.<mirroring>`, `gpu.memory.<folds>x<heads>.stated`, `.taken`."""
    found = read("gpu-path/device.json")
    for name, host in found["host"].items():
        yield f"gpu.device.{name.replace(' ', '-')}", f"{host['part_of_aim']:.0%}"
    for row in found["memory"]:
        if (row["card_gib"], row["precision"]) == (12, "mixed"):
            for what in ("stated", "taken"):
                gib = f"{row[what] / 2**30:.2f}\N{NO-BREAK SPACE}GiB"
                yield f"gpu.memory.{row['folds']}x{row['heads']}.{what}", gib


def device_kinds() -> Iterator[tuple[str, str]]:
    """What the code says of every kind of recipe: `device.normalisations`, `device.logits` (rows of a table)."""
    from scanside.runtime.device.layout import linear
    from scanside.runtime.device.normalise import SCHEMES
    from scanside.runtime.plan import Resampling

    yield "device.normalisations", ", ".join(SCHEMES)
    thin, thick = (1.0, 1.0, 1.0), (5.0, 1.0, 1.0)
    function = "`resample_data_or_seg_to_shape`"
    kinds = [
        *((f"{function}, order {order}", Resampling(order=order), thin) for order in (1, 0, 2, 3, 4, 5)),
        *(
            (
                f"{function}, order 1, a coarse axis apart with order {z}",
                Resampling(order=1, order_z=z),
                thick,
            )
            for z in (0, 1, 3)
        ),
        ("`resample_torch_fornnunet`", Resampling(method="torch"), thin),
        ("`no_resampling_hack`", Resampling(method="none"), thin),
    ]
    rows = [f"| {name} | {'device' if linear(how, mm, thin) else 'host'} |" for name, how, mm in kinds]
    yield "device.logits", "\n".join(rows)


def demonstration() -> Iterator[tuple[str, str]]:
    """The demonstration's patients, truth beside answer."""
    cases = read("demo/demo.json")["cases"]
    yield "demo.rows", "\n".join(_patient(case) for case in cases)
    classes = [_named(case["answer"]) for case in cases]
    right = sum(
        named == (case["truth"]["diagnosis"] == "PDAC") for named, case in zip(classes, cases, strict=True)
    )
    without = classes.count(None)
    yield "demo.patients", str(len(cases))
    yield "demo.right", str(right)
    yield "demo.wrong", str(len(cases) - right - without)
    yield "demo.without", str(without)
    yield "demo.seconds", f"{max(case['seconds'] for case in cases):.0f}\N{NO-BREAK SPACE}s"
    for role in ("t2w", "dwi"):
        yield f"demo.missed.{role}", str(sum(case["truth"]["dice"].get(role) == 0 for case in cases))


def _named(answer: dict[str, Any]) -> bool | None:
    """Whether the program named the class PDAC; None where it named none."""
    if answer["status"] != "ok" or answer["probability"] is None:
        return None
    return bool(answer["probability"]["predicted"] == "PDAC")


def _patient(case: dict[str, Any]) -> str:
    truth, answer = case["truth"], case["answer"]
    found = answer["probability"]
    said = f"**{answer['status']}**"
    if found is not None:
        said += (
            f", probability of {found['class']} {found['value']:.2f} ({found['low']:.2f}–{found['high']:.2f})"
        )
    if answer["reason"]:
        said += f": {answer['reason']}"
    dice = [f"{truth['dice'][role]:.2f}" if role in truth["dice"] else "–" for role in ("t2w", "dwi")]
    lesion = f"{truth['diagnosis']}, {truth['size_mm']:.0f} mm, {truth['place']}"
    person = f"{truth['age']:.0f} years, {truth['sex']}; {truth['scanner']}"
    return f"| {case['seed']} | {lesion}; {person} | {dice[0]} | {dice[1]} | {said.replace('|', '/')} |"


def new_patients() -> Iterator[tuple[str, str]]:
    """A frozen bundle on a second cohort: `new.<what>`, `new.<scanner>.<what>`, `new.known.<what>` of the others."""
    found = read("new-patients/report.json")
    centres = found["frozen"]["centres"]
    unseen = next(one for one in centres if one["site"] == "delta-3t")
    known = [one for one in centres if one is not unseen]
    for stem, group in (("new", centres), ("new.known", known), ("new.delta-3t", [unseen])):
        for name, key in (("patients", "patients"), ("positives", "positives"), ("named", "named")):
            yield f"{stem}.{name}", str(sum(one[key] for one in group))
        yield f"{stem}.without", str(sum(one["without_probability"] for one in group))
        for role in ("t2w", "dwi"):
            total = sum(one["dice"][role]["value"] * one["patients"] for one in group)
            yield f"{stem}.dice.{role}", f"{total / sum(one['patients'] for one in group):.2f}"
    main = next(one for one in found["classification"]["models"] if one["main"])
    decided = main["indeterminate"]["confusion"]
    yield "new.auc", interval(main["auc"], "delong")
    yield "new.right", str(decided["true_positive"] + decided["true_negative"])
    yield "new.wrong", str(decided["false_positive"] + decided["false_negative"])
    yield "new.regions", str(main["wrong_regions"]["wrong"])
    features = found["frozen"]["drift"]["features"]
    yield "new.drifted", str(sum(one["drifted"] for one in features))
    yield "new.features", str(len(features))


SOURCES: tuple[Callable[[], Iterator[tuple[str, str]]], ...] = (
    peers, parity, install, radiomics, soak, terminal, phantom, fused, folds, contrast, ceiling, gpu_prediction,
    gpu_path, device_kinds, demonstration, new_patients,
)  # fmt: skip


def figures() -> dict[str, str]:
    """Every figure that a template may name."""
    return {name: text for source in SOURCES for name, text in source()}


def render(text: str, values: dict[str, str]) -> str:
    """A document with its blocks written anew.

    Raises:
        KeyError: If a template names a figure that no results file holds.
    """

    def fill(block: re.Match[str]) -> str:
        template = (TEMPLATES / f"{block[2]}.md").read_text().strip()
        filled = re.sub(r"\{([^{}\s]+)\}", lambda name: values[name[1]], template)
        return f"{block[1]}{filled}\n{block[3]}"

    return _BLOCK.sub(fill, text)


def documents() -> list[Path]:
    """Documents that hold blocks."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(RESULTS.glob("*/README.md"))]
    return [path for path in found if path.parent != TEMPLATES and _BLOCK.search(path.read_text())]


def main() -> int:
    """Rewrite every document; 0, or 1 with `--check` where one was stale."""
    values, stale = figures(), []
    for path in documents():
        before = path.read_text()
        after = render(before, values)
        if after != before:
            stale.append(path)
            if "--check" not in sys.argv:
                path.write_text(after)
    for path in stale:
        print(path.relative_to(ROOT), file=sys.stderr)
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
