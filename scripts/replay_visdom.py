"""Show the curves, scores and last images of a run on a Visdom server, from what the run recorded.

    python scripts/start_visdom.py                     # in another terminal
    python scripts/replay_visdom.py --name horse2zebra

For runs that were trained while no server was there, or on another machine.
"""

from pathlib import Path

import repository  # noqa: F401

from util.errors import UserError, run
from util.flag_types import ScriptParser, port_number
from util.loggers.visdom_page import VisdomPage


def main() -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("--name", required=True, help="the run: its record is read from checkpoints_dir/name")
    add("--checkpoints_dir", default="./checkpoints", help="folder of all experiments")
    add("--display_server", default="http://localhost", help="address of the server")
    add("--display_port", type=port_number, default=8097, help="its port")
    add("--display_env", default="main", help="default: an environment of the run's name")
    opt = parser.parse_args()
    try:
        from util.loggers.visdom_logger import address, answers, connect, environment, load_record
        from util.loggers.visdom_runs import list_run
    except ImportError as error:
        raise UserError(f"Visdom isn't installed ({error}): see the README's set-up") from error
    folder = Path(opt.checkpoints_dir) / opt.name
    page = VisdomPage(environment(opt))
    load_record(page, folder)
    if not page.plots:
        raise UserError(f"no rows of losses.jsonl in {folder}: --name and --checkpoints_dir must name a run")
    if not answers(opt):
        raise UserError(
            f"no Visdom server at {opt.display_server}:{opt.display_port}; start one with "
            "`python scripts/start_visdom.py` or name another --display_port"
        )
    client = connect(opt)
    page.draw(client)
    list_run(client, page.env)
    client.save([page.env])
    print(f"open {address(opt)}")


if __name__ == "__main__":
    run(main)
