"""The dialog in which pictures enlarge, of the training page and of the result page: viewer.js fills it."""

from dominate import tags


class dialog(tags.html_tag):
    """The one element that dominate lacks."""


def viewer() -> dialog:
    """Two pictures under a slider, or all side by side."""

    def button(words: str, name: str, title: str) -> tags.button:
        return tags.button(words, id=name, title=title, aria_label=title.partition(" (")[0])

    choose = (tags.label(f"{side} ", tags.select(id=side)) for side in ("left", "right"))
    buttons = (
        button("side by side", "mode", "slider or all side by side (s)"),
        button("−", "smaller", "zoom out (-)"), tags.span(id="zoom"), button("+", "larger", "zoom in (+)"),
        button("1:1", "pixel", "one image pixel on one screen pixel (1)"), button("fit", "fit", "fit the window (0)"),
        button("←", "previous", "previous (←)"), button("→", "next", "next (→)"), button("✕", "close", "close (Esc)"),
    )  # fmt: skip
    bar = tags.nav(
        tags.b(id="name"), tags.span(id="where"), tags.span(id="note"), tags.span(cls="gap"),
        tags.span(choose, id="choose"), tags.span(buttons, id="buttons"),
    )  # fmt: skip
    keys = "← → image \xa0 space: swap \xa0 , . move the slider \xa0 + − 1 0 zoom \xa0 s side by side \xa0 Esc close"
    stage = tags.div(id="stage", tabindex="0", autofocus=True, role="group", aria_label="pictures")
    return dialog(bar, stage, tags.p(keys), id="viewer", aria_label="viewer")
