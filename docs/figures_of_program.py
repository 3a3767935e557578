"""Figures of the program: parity, size, reliability, and what a GPU could do."""

from collections.abc import Iterator

from results_files import read, seconds, spread, times


def parity() -> Iterator[tuple[str, str]]:
    """Voxels that differ from nnUNetPredictor's over a folder of images."""
    found = read("benchmarks/parity-hippocampus.json")
    yield "parity.images", str(found["conditions"]["images"])
    for total in (one for one in found["measured"] if "cases" in one["facts"]):
        yield f"parity.{total['name']}.differing", f"{total['facts']['differing']:,}"
        yield f"parity.{total['name']}.voxels", f"{total['facts']['voxels']:,}"


def peak() -> Iterator[tuple[str, str]]:
    """`peak.<precision>`: one tile on OpenVINO with two threads; `.times`: fp32 / precision; how it was measured."""
    found = read("benchmarks/peak.json")
    tiles = {
        one["peer"].removeprefix("openvino:"): one["tile_ms"]
        for one in found["networks"]
        if one["threads"] == 2
    }
    for precision in ("fp32", "bf16", "int8"):
        yield f"peak.{precision}", f"{tiles[precision]['median']:.0f}\N{NO-BREAK SPACE}ms"
        yield f"peak.{precision}.times", times(tiles["fp32"]["median"] / tiles[precision]["median"])
    yield "peak.samples", str(len(tiles["fp32"]["samples"]))
    yield "peak.other", f"{100 * found['other_cpu_part']:.1f}\N{NO-BREAK SPACE}%"
    yield "peak.version", found["versions"]["scanside"]
    yield "peak.date", found["created"][:10]


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
    yield "radiomics.times", spread([study["ratio"]["min"], study["ratio"]["max"]], times)
    yield "radiomics.error", f"{max(one['error'] for one in study['features'].values()):.1e}"


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
    facts = found["measured"][0]["facts"]
    yield "tui.studies", f"{found['conditions']['studies']:,}"
    yield "tui.opening", f"{facts['opening_s']['p50']:.2f} s"
    yield "tui.openings", str(facts["opening_s"]["samples"])
    yield "tui.opening.longest", f"{facts['opening_s']['max']:.2f} s"
    yield "tui.key", f"{1000 * facts['key_to_paint_s']['p95']:.0f} ms"
    yield "tui.idle", f"{100 * facts['idle_cpu_part']:.1f} %"


def coverage() -> Iterator[tuple[str, str]]:
    """What part of each component's statements the tests ran: `coverage.<component>`."""
    found = read("coverage.json")
    yield "coverage.measured", found["measured"]
    for component, row in found["components"].items():
        yield f"coverage.{component}", f"{row['percent']:.0f}\N{NO-BREAK SPACE}%"


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
