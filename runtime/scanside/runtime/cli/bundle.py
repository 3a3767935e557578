"""`scanside bundle inspect|verify|sign`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from scanside.runtime import bundle as bundles
from scanside.runtime.bundle import Bundle
from scanside.runtime.cli.group import Group
from scanside.runtime.cli.keys import PasswordFile, password_of
from scanside.runtime.errors import BundleError
from scanside.runtime.signing import Signature, SigningKey, sign_file
from scanside.runtime.study_model import StudyModel
from scanside.runtime.trust import signatures_of_bundle

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    cls=Group,
    help="Inspect, verify or sign a bundle.",
)
Folder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command()
def inspect(bundle: Folder, as_json: AsJson = False) -> None:
    """Show what a bundle holds: plans, labels, folds, golden cases, parity, provenance.

    Example: scanside bundle inspect hippocampus.bundle
    """
    opened = bundles.open_bundle(bundle)
    facts = _facts(opened)
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    for name in ("name", "version", "sha256", "created", "intended_use", "licence"):
        print(f"{name:14} {facts[name]}")
    for role, segmenter in facts["segmenters"].items():
        print(f"\nsegmenter {role}")
        for name, value in segmenter.items():
            print(f"  {name:14} {value}")
    for one in facts["fusions"]:
        numbers = f"blur {one['blur_mm']:g} mm, weight {one['weight']:g}, limit {one['limit']:g}"
        print(f"\n{one['role']} is decided together with {one['other']} ({numbers})")
    for model in facts["models"]:
        print(f"\nmodel {model['name']}")
        for name in ("roles", "covariates", "classes", "threshold", "indeterminate", "calibration"):
            print(f"  {name:14} {model[name]}")
        print("  signature      (5th, 50th and 95th percentile of the training cohort)")
        for name, span in model["signature"].items():
            print(f"    {name:48} {span[0]:12.5g} {span[1]:12.5g} {span[2]:12.5g}")
    if facts["synthetic"]:
        print("\nTrained on a synthetic phantom: its figures say nothing about patients.")
    print(f"\ngolden cases   {', '.join(facts['golden']) or 'none'}")
    print(f"parity         {facts['parity']}")
    signed = (f"{one['signer']} ({one['at']}, key {one['key_id']})" for one in facts["signatures"])
    print(f"signed by      {', '.join(signed) or 'nobody'}")
    print(f"size           {facts['bytes'] / 1e6:.1f} MB in {facts['files']} files")


@app.command()
def verify(
    bundle: Folder,
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="PUBLIC", help="Demand a signature by this public key (ed25519:…); repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the sha256 of every file of a bundle, and its signatures; exit code 3 when one is not right.

    Example: scanside bundle verify hippocampus.bundle
    """
    opened = bundles.open_bundle(bundle)
    count = bundles.verify(opened)
    found = signatures_of_bundle(opened)
    for wanted in key or ():
        if wanted not in {one.key for one in found}:
            raise BundleError(f"Bundle {bundle} is not signed by {wanted}; get it from its maker.")
    if as_json:
        facts = {"schema": "scanside.verify/1", "status": "ok", **opened.summary(), "files": count}
        print(json.dumps({**facts, "signatures": [_signature(one) for one in found]}))
        return
    print(f"{bundle}: {count} files verified, bundle sha256 {opened.sha256}", file=sys.stderr)
    for one in found:
        print(f"signed by {one.signer} at {one.at}, key {one.key_id}", file=sys.stderr)


@app.command()
def sign(
    bundle: Folder,
    key: Annotated[Path, typer.Option(metavar="FILE", help="Private key, of `scanside keys new`.")],
    signer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who signs; default: the name of the key's file.")
    ] = None,
    password_file: PasswordFile = None,
) -> None:
    """Verify a bundle and sign it (Ed25519); signatures by other keys are kept.

    Example: scanside bundle sign hippocampus.bundle --key physics.key --signer "Medical physics, Example Hospital"
    """
    opened = bundles.open_bundle(bundle)
    bundles.verify(opened)
    signatures_of_bundle(opened)
    private = SigningKey.read(key, password_of(password_file))
    made = sign_file(bundle / bundles.MANIFEST, "bundle", private, signer or key.stem)
    print(f"{bundle}: signed by {made.signer}, key {made.key_id}", file=sys.stderr)


def _signature(one: Signature) -> dict[str, str]:
    return {"signer": one.signer, "at": one.at, "key": one.key, "key_id": one.key_id}


def _facts(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    segmenters = {}
    for role, segmenter in manifest.segmenters.items():
        plan = segmenter.plan
        segmenters[role] = {
            "configuration": plan.configuration,
            "channels": [f"{channel.name} ({channel.normalization.scheme})" for channel in plan.channels],
            "labels": dict(plan.labels.names),
            "patch_size": list(plan.patch_size),
            "spacing_mm": list(plan.spacing),
            "mirror_axes": list(plan.mirror_axes),
            "folds": [network.fold for network in segmenter.networks],
            "precisions": list(segmenter.networks[0].files) if segmenter.networks else [],
            "postprocessing": [list(step.labels) for step in plan.postprocessing],
            "previous_stage": plan.previous_stage,
        }
        if segmenter.members:  # all else is the members' own
            mine = ("configuration", "channels", "labels", "postprocessing")
            facts = {name: segmenters[role][name] for name in mine}
            segmenters[role] = {**facts, "members": list(segmenter.members)}
    return {
        "schema": "scanside.inspect/1",
        **bundle.summary(),
        "created": manifest.created,
        "intended_use": manifest.intended_use,
        "licence": manifest.licence,
        "segmenters": segmenters,
        "synthetic": manifest.synthetic,
        "fusions": [fusion.model_dump() for fusion in manifest.fusions],
        "models": [_model(model) for model in manifest.models],
        "golden": [case.name for case in manifest.golden] + [study.name for study in manifest.studies],
        "parity": _parity(bundle),
        "signatures": [_signature(one) for one in signatures_of_bundle(bundle)],
        "provenance": manifest.provenance,
        "files": len(manifest.files) + 1,
        "bytes": sum(entry.bytes for entry in manifest.files.values()),
    }


def _model(model: StudyModel) -> dict[str, Any]:
    record = model.classifier
    return {
        "name": model.name,
        "roles": None if model.roles is None else list(model.roles),
        "covariates": [covariate.name for covariate in model.covariates],
        "signature": model.signature.ranges,
        "classes": [record.positive, record.negative],
        "threshold": record.threshold,
        "indeterminate": list(record.indeterminate),
        "calibration": record.calibration,
    }


def _parity(bundle: Bundle) -> str:
    if "parity.json" not in bundle.manifest.files:
        return "no report"
    report = json.loads(bundle.read("parity.json"))
    hops, parts = report["hops"], []
    for device, precision in dict.fromkeys((hop["device"], hop["precision"]) for hop in hops):
        mine = [hop for hop in hops if (hop["device"], hop["precision"]) == (device, precision)]
        differing, voxels = sum(h["differing"] for h in mine), sum(h["voxels"] for h in mine)
        parts.append(f"{device} {precision}: {differing} of {voxels} voxels differ")
    for study in report.get("studies", []):
        parts.append(f"{study['case']}: features within {study['feature_error']:.1e}")
        if study.get("fused_differing") is not None:
            parts.append(f"{study['case']}: {study['fused_differing']} voxels of fused masks differ")
    if "probability" in report:
        parts.append(f"probability within {report['probability']['largest_difference']:.1e}")
    return "; ".join(parts)
