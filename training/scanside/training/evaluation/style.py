"""How the figures look: one palette and one set of words for all of them."""

from typing import Any

PART_COLOURS = {"resubstitution": "#b3b9c4", "cross-validated": "#5b8fc7", "test": "#1f4e8c"}
HELD_OUT_COLOUR = "#c8553d"
STUDY_COLOUR = "#111111"
INK, GRID = "#30343b", "#dfe3e8"
MODEL_COLOURS = ("#1f4e8c", "#2a9d8f", "#e09f3e", "#8e5ea2", "#c8553d", "#7a828e", "#5c8001", "#b5179e")
_DPI = 130


def figure(width: float, height: float, columns: int = 1, rows: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure and its axes (rows, columns); sizes in inches. Drawn by Agg, without a window system."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = made.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.set_facecolor("white")
        axis.tick_params(colors=INK, labelsize=9)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axis.spines[side].set_color("#9aa1ab")
    return made, axes


def words(axis: Any, title: str, x: str, y: str) -> None:
    """Title and names of the axes."""
    axis.set_title(title, fontsize=10.5, color=INK, loc="left", fontweight="bold")
    axis.set_xlabel(x, fontsize=9, color=INK)
    axis.set_ylabel(y, fontsize=9, color=INK)


def legend(axis: Any, **options: Any) -> None:
    """A small legend without a frame."""
    axis.legend(**{"fontsize": 8, "frameon": False, "labelcolor": INK, **options})


def stamp(made: Any, synthetic: bool) -> None:
    """Mark a figure of a synthetic cohort, so that it cannot be taken for a clinical one when it is cut out."""
    if not synthetic:
        return
    strip = 0.2 / made.get_figheight()
    made.get_layout_engine().set(rect=(0, strip, 1, 1 - strip))
    made.text(
        0.995, strip * 0.3, "phantom (synthetic images), not patients", ha="right", va="bottom",
        fontsize=7.5, color="#a33", style="italic",
    )  # fmt: skip


def png(made: Any) -> bytes:
    """The figure as a PNG; the same figure gives the same bytes."""
    import io

    buffer = io.BytesIO()
    made.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
