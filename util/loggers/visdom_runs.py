"""The environment that Visdom opens with, ``main``, has a pane that lists the runs and links to each, newest first."""

import json
import re
import time
from html import unescape
from urllib.parse import quote

from dominate import tags

MAIN, WINDOW = "main", "runs"
ENTRY = re.compile(r'<p data-run="([^"]*)">.*?</p>')
LINE, MARGINS = 30, 40  # pixels, of the pane's height


def list_run(client, env: str, started: float | None = None) -> None:
    """Put the environment first in the list, and save both. Others stay as they are as long as the server has them;
    those that it knows without the list follow. ``started``: seconds since 1970, None: not known."""
    there = {each for each in client.get_env_list() if each not in (MAIN, env)}
    old = {}
    if client.win_exists(WINDOW, env=MAIN):
        content = json.loads(client.get_window_data(WINDOW, env=MAIN))["content"]
        old = {unescape(found[1]): found[0] for found in ENTRY.finditer(content)}
    first = old.get(env) or entry(env) if started is None else entry(env, started)
    entries = [first] if env != MAIN else []
    entries += [line for run, line in old.items() if run in there]
    entries += [entry(each) for each in sorted(there) if each not in old]
    look = {"title": "runs, newest first", "width": 600, "height": LINE * len(entries) + MARGINS}
    client.text("\n".join(entries), win=WINDOW, env=MAIN, opts=look)
    client.save([MAIN, env])


def entry(env: str, started: float | None = None) -> str:
    when = "" if started is None else time.strftime(", started %Y-%m-%d %H:%M", time.localtime(started))
    return tags.p(tags.a(env, href=f"/env/{quote(env)}"), when, data_run=env).render(pretty=False)
