"""Figures of the study on the phantom, of the demonstration and of new patients. All are of a synthetic phantom."""

from collections.abc import Iterator
from typing import Any

from results_files import interval, read


def _study(path: str, stem: str) -> Iterator[tuple[str, str]]:
    """A study on the phantom: `<stem>.dice.<role>.<part>.<scanners>.<size>`, `<stem>.auc.<model>.<part>`.

    Of the indeterminate patients `<stem>.between.<part>` have a probability, and `<stem>.silent.<part>` have none.
    """
    found = read(path)
    for row in found["segmentation"]["rows"]:
        where = f"{row['role']}.{row['part']}.{row['scanners']}.{row['size']}".replace(" ", "-")
        yield f"{stem}.dice.{where}", interval(row["dice"])
        yield f"{stem}.dice.{where}.value", f"{row['dice']['value']:.2f}"
        yield f"{stem}.missed.{where}", str(row["missed"])
    for model in found["classification"]["models"]:
        name = f"{model['model']}.{model['part']}"
        if model["auc"]:
            yield f"{stem}.auc.{name}", interval(model["auc"], "delong")
            yield f"{stem}.auc.{name}.value", f"{model['auc']['value']:.2f}"
            yield f"{stem}.answered.{name}", str(model["auc"]["patients"])
        for status, count in model["statuses"].items():
            yield f"{stem}.status.{name}.{status.replace(' ', '-')}", str(count)
        if model["model"] == "deployed" and model["wrong_regions"]:
            yield f"{stem}.wrong.{model['part']}", str(model["wrong_regions"]["wrong"])
            yield f"{stem}.region.{model['part']}", str(model["wrong_regions"]["patients"])
            between = model["auc"]["patients"] - model["statuses"]["ok"]
            yield f"{stem}.between.{model['part']}", str(between)
            yield f"{stem}.silent.{model['part']}", str(model["statuses"]["indeterminate"] - between)
    for canary in found["classification"]["canaries"]:
        name = f"{stem}.canary.{canary['name'].replace(' ', '-')}"
        yield f"{name}.runs", str(canary["runs"])
        for leak, power in canary["power"].items():
            yield f"{name}.{leak}", f"{100 * power:.0f} %"
    for added in found["classification"]["added"]:
        low, high = added["interval"]
        shown = f"{added['difference']:.2f} ({low:.2f} to {high:.2f})"
        yield f"{stem}.added.{added['part']}", shown.replace("-0.00", "0.00")
        yield f"{stem}.added.patients.{added['part']}", str(added["patients"])
        yield f"{stem}.added.lr.{added['part']}", f"{added['likelihood_ratio']:.1f}"
        yield f"{stem}.added.p.{added['part']}", f"{added['likelihood_ratio_p']:.2g}"
    for row in found["classification"]["ablation"]:
        yield f"{stem}.masks.{row['masks'].replace(' ', '-').replace(',', '')}", interval(row["auc"])
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


def lead() -> Iterator[tuple[str, str]]:
    """What each sequence gained from the other on other phantoms, before a rule was built: `lead.<role>`."""
    for role, found in read("phantom-254-fused/lead.json")["roles"].items():
        gain = found["by"]["all"]["difference"]
        shown = [f"{value:.2f}".replace("-0.00", "0.00") for value in (gain["mean"], *gain["interval"])]
        yield f"lead.{role}", f"{shown[0]} ({shown[1]} to {shown[2]})"
        yield f"lead.{role}.patients", str(gain["patients"])


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
