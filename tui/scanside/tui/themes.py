"""Three themes: dark, light and high contrast. A state is told by its symbol and word first; colour only repeats it."""

from textual.theme import Theme

DARK = Theme(
    name="dark",
    primary="#5aa9e6",
    secondary="#8fb8de",
    accent="#f2b134",
    foreground="#e6e6e6",
    background="#101418",
    surface="#181d23",
    panel="#222a33",
    success="#5fd38d",
    warning="#f2b134",
    error="#ff8a8a",
    dark=True,
    variables={
        "quiet": "#aab4bf",
        "busy": "#6cc5ff",
        "cursor": "#26415e",
        "footer-key-foreground": "#f2b134",
    },
)
LIGHT = Theme(
    name="light",
    primary="#0b5394",
    secondary="#38618c",
    accent="#8a4b00",
    foreground="#14181c",
    background="#f7f7f5",
    surface="#ffffff",
    panel="#e4e7ea",
    success="#11632f",
    warning="#8a4b00",
    error="#a8071a",
    dark=False,
    variables={
        "quiet": "#535c66",
        "busy": "#0b5394",
        "cursor": "#c9def2",
        "footer-key-foreground": "#8a4b00",
    },
)
CONTRAST = Theme(
    name="high-contrast",
    primary="#ffffff",
    secondary="#ffffff",
    accent="#ffff00",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    success="#00ff66",
    warning="#ffff00",
    error="#ff8080",
    dark=True,
    text_alpha=1.0,
    variables={
        "quiet": "#ffffff",
        "busy": "#66e0ff",
        "cursor": "#0000cc",
        "footer-key-foreground": "#ffff00",
        "border": "#ffffff",
        "footer-background": "#000000",
        "footer-foreground": "#ffffff",
    },
)
THEMES = {theme.name: theme for theme in (DARK, LIGHT, CONTRAST)}
"""Name → theme; what `--theme` takes."""
