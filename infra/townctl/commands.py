"""Every command of townctl, in the order of its help: its name, the function that runs it, and what it is for.

A function is named by its import path, so that a command imports no module that only other commands need.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple


class Command(NamedTuple):
    """A command. `path` is `module:function` below infra; `about` is the first sentence of the function's docstring."""

    name: str
    path: str
    about: str


HELP: Final = """\
Run towns on this machine and see what they do and why.

Towns are kept in a data directory or in an S3 bucket, and only ticks change them. Try `townctl demo` first.
Exit codes: 0 done, 1 done and something needs attention, 2 refused.
"""

OPTIONS: Final = {
    "data": "The data directory; default: TOWNCTL_DATA, else ./town-data.",
    "bucket": "The S3 bucket that holds the towns; default: TOWNCTL_BUCKET. Local agents stay in the data directory.",
    "endpoint": "The endpoint of a bucket that is not at AWS; default: TOWNCTL_ENDPOINT.",
    "region": "The region of the bucket; default: TOWNCTL_REGION, else the SDK's.",
    "api": "The URL of a deployment's API to send the command to; default: TOWNCTL_API.",
    "json": "Print one JSON document instead of tables.",
}
"""The options of every command: where the towns are, and the form of the answer."""

GROUPS: Final = {
    "town": "Create and start towns, list them, show what one is doing and its settings.",
    "bead": "List the beads of a town, or show one in full.",
    "agent": "List the agents of a town.",
    "convoy": "List the convoys of a town.",
    "review": "List the reviews of a town.",
    "rig": "List the rigs of a town.",
    "escalation": "List the escalations of a town.",
    "mail": "List the messages of a town.",
    "mayor": "Talk with the mayor of a town.",
    "event": "Post events to a town's inbox, list them, redrive poisoned ones.",
    "explain": "Show the history of one bead or agent, and why it waits.",
    "secret": "Store, list and remove the tokens for forges, which are never shown, and manage the keys of a deployment.",
    "litestream": "Read towns with Litestream, and import databases that it replicated.",
}

COMMANDS: Final = (
    Command(
        "demo",
        "demo.command:demo",
        "Run a whole town on this machine: real processes, a real git repository, no network.",
    ),
    Command("town create", "townctl.towns:create", "Create a town."),
    Command(
        "town start",
        "townctl.towns:start",
        "Start a paused town: post the event town_started, which its next tick applies.",
    ),
    Command("town list", "townctl.towns:list_", "List the towns with their latest ticks."),
    Command(
        "town status",
        "townctl.towns:status",
        "Show what a town is doing and, for every waiting bead, why and until when it waits.",
    ),
    Command(
        "town config",
        "townctl.towns:config",
        "Show the settings of a town: the effective values, which of them are defaults, and the overrides of rigs.",
    ),
    Command("bead list", "townctl.beads:list_", "List the beads of a town, including closed ones, newest first."),
    Command(
        "bead show", "townctl.beads:show", "Show one bead in full: its rows, its dependencies and its audit trail."
    ),
    Command("agent list", "townctl.beads:agents", "List the agents of a town with what they work on."),
    Command("convoy list", "townctl.beads:convoys", "List the convoys of a town, including landed ones, newest first."),
    Command(
        "review list", "townctl.town_lists:reviews", "List the reviews of a town, including closed ones, newest first."
    ),
    Command("rig list", "townctl.town_lists:rigs", "List the rigs of a town with the work in each."),
    Command(
        "escalation list",
        "townctl.town_lists:escalations",
        "List the escalations of a town, including closed ones, newest first.",
    ),
    Command(
        "mail list",
        "townctl.town_lists:mail",
        "List the messages of a town, newest first, and whether they are delivered.",
    ),
    Command("mayor say", "townctl.mayor:say", "Say something to the mayor, which wakes or starts it."),
    Command("mayor log", "townctl.mayor:log", "Show what was written to the mayor and what it has said, oldest first."),
    Command("event post", "townctl.events:post", "Post events."),
    Command(
        "event list",
        "townctl.events:list_",
        "List events with their outcomes, newest first: events in the inbox, stored events, and repeats of a known id.",
    ),
    Command(
        "event redrive", "townctl.events:redrive", "Redrive a poisoned event: post a copy with the id `<id>:r<n>`."
    ),
    Command(
        "explain bead",
        "townctl.explain:bead",
        "Show the history of a bead: every event, rule, action and effect, and what it waits for.",
    ),
    Command(
        "explain agent",
        "townctl.explain:agent",
        "Show the history of an agent: what it worked on, what would remove it, and why it gets no work.",
    ),
    Command(
        "logs",
        "townctl.logs:logs",
        "Show what an agent printed: the newest 256 KiB of its newest start, or of the newest start that worked on a bead.",
    ),
    Command(
        "run",
        "townctl.loop:run",
        "Tick the towns of the data directory or bucket whenever they are due, until Ctrl-C or SIGTERM.",
    ),
    Command("tick", "townctl.one_tick:tick", "Run one tick of a town if it is due, and perform its effects."),
    Command("dry-run", "townctl.ticks:dry_run", "Show what the next tick would do, without changing anything."),
    Command(
        "ticks",
        "townctl.ticks:ticks",
        "Show the journal: the input of each tick and what it did, oldest first; without --after or --before, the newest ticks.",
    ),
    Command(
        "replay",
        "townctl.replays:replay",
        "Replay the recorded ticks of a window and compare them with history; with --overrides, show what would have happened.",
    ),
    Command(
        "record",
        "townctl.recordings:record",
        "Write the ticks of a window to one file that can be replayed anywhere, without the texts that people wrote.",
    ),
    Command(
        "points",
        "townctl.points:points",
        "List the newest commits that a town can be restored to, and their total number.",
    ),
    Command("restore", "townctl.restore_points:restore", "Restore a town as it was, to a file or as a new commit."),
    Command("flush", "townctl.restore_points:flush", "Publish the newest commit as a file that Litestream can read."),
    Command(
        "retention",
        "townctl.restore_points:retention",
        "Show which objects no restore point needs any more, or delete them.",
    ),
    Command(
        "export",
        "townctl.export_import:export",
        "Write a town to a file of JSON lines: a header, then one object for each row.",
    ),
    Command(
        "import",
        "townctl.export_import:import_",
        "Create a new town from an export or from a SQLite file with a town's tables.",
    ),
    Command(
        "litestream config",
        "townctl.litestream_commands:config",
        "Print a litestream.yml for these towns, default: all.",
    ),
    Command(
        "litestream import",
        "townctl.litestream_commands:import_",
        "Create a town from the newest state of a replica that Litestream wrote.",
    ),
    Command(
        "secret set",
        "townctl.secret_commands:set_",
        "Store a town's token, read from standard input: `townctl secret set TOWN github < FILE`.",
    ),
    Command(
        "secret set-platform",
        "townctl.secret_commands:set_platform",
        "Store a token, read from standard input, for the towns that --serves names and that have none of their own.",
    ),
    Command(
        "secret set-app",
        "townctl.secret_commands:set_app",
        "Store a GitHub App: its id, and a private key read from standard input: `townctl secret set-app APP-ID < KEY-FILE`.",
    ),
    Command(
        "secret list",
        "townctl.secret_commands:list_",
        "List the hosts, towns and rigs that have a token, without showing any token.",
    ),
    Command(
        "secret control-key",
        "townctl.secret_commands:control_key",
        "Print the key of a town's control server, for its TOWN_CONTROL_KEY; the first call makes the platform's secret.",
    ),
    Command(
        "secret rotate-town-tokens",
        "townctl.token_keys:rotate",
        "Make a new key for town tokens.",
    ),
    Command(
        "secret set-deploy-key",
        "townctl.deploy_key_commands:set_deploy_key",
        "Store a rig's deploy key, read from standard input: `townctl secret set-deploy-key TOWN RIG < KEY-FILE`.",
    ),
    Command(
        "secret remove-deploy-key",
        "townctl.deploy_key_commands:remove_deploy_key",
        "Remove a rig's deploy key and the keys of its host.",
    ),
    Command("secret remove", "townctl.secret_commands:remove", "Remove a token."),
    Command("token", "townctl.town_token:token", "Print a token for the header `Authorization: Bearer TOKEN`."),
    Command(
        "serve",
        "townctl.serve:serve",
        "Serve the API and tick the towns of a data directory or bucket until Ctrl-C or SIGTERM.",
    ),
    Command(
        "doctor",
        "townctl.doctor:doctor",
        "Check everything: heads, images, every row, journals, inboxes, due markers, agent processes.",
    ),
)

_USE_BUCKET: Final = "use --bucket with the bucket of the deployment instead of --api"

ON_FILES: Final = {
    "demo": ("it creates its own town on this machine", "leave --api out"),
    "run": (
        "it runs ticks on this machine, and a deployment runs its own",
        "leave --api out and use --data; `townctl town status` shows what a deployment does",
    ),
    "tick": (
        "it runs a tick on this machine, and a deployment runs its own",
        f"`townctl dry-run` shows the next tick; to run one here, {_USE_BUCKET}",
    ),
    "record": ("it reads whole images of the town", _USE_BUCKET),
    "restore": (
        "it reads whole images of the town and replaces its newest one",
        _USE_BUCKET,
    ),
    "flush": ("it writes an object of the town", _USE_BUCKET),
    "retention": (
        "it deletes objects of the town",
        f"a deployment does this once a day; to look at it, {_USE_BUCKET}",
    ),
    "export": (
        "it reads the whole image of the town",
        _USE_BUCKET,
    ),
    "import": ("it writes a whole image", _USE_BUCKET),
    "litestream config": (
        "it names the objects of the towns",
        _USE_BUCKET,
    ),
    "litestream import": ("it writes a whole image", _USE_BUCKET),
    "secret rotate-town-tokens": (
        "it replaces the key itself, and no API takes one",
        "use `townctl secret rotate-town-tokens --stack NAME` for a deployment",
    ),
    "serve": ("it serves an API itself", "leave --api out"),
    "doctor": (
        "it checks the files of the towns",
        "use `townctl doctor --stack NAME` for a deployment, or `townctl town status TOWN` for one town",
    ),
}
"""The commands that work on the files of the towns, or on this machine, and not with an API: why, and what to do instead."""


def refuse_api(name: str) -> None:
    """Raise Refused if the command cannot be sent to an API."""
    from shared.domain.errors import Refused

    if name in ON_FILES:
        why, instead = ON_FILES[name]
        raise Refused(f"{name} does not work with --api: {why}", status=400, path="api", hint=instead)


def overview(columns: int) -> str:
    """The help of townctl itself: every command and the options of all of them, for a terminal of this width."""
    options = {f"--{name}": about for name, about in OPTIONS.items()}
    said = {command.name: command.about for command in COMMANDS}
    own = {"--help, -h": "Show the help of townctl or of a command.", "--version": "Show the version."}
    indent = max(map(len, said)) + 4
    lines = ["Usage: townctl COMMAND", "", HELP, "Commands:", *_described(said, indent, columns)]
    return "\n".join([*lines, "", "With every command:", *_described(options | own, indent, columns)])


def _described(said: Mapping[str, str], indent: int, columns: int) -> Iterator[str]:
    from textwrap import wrap

    for name, about in said.items():
        start = f"  {name}".ljust(indent)
        yield from wrap(
            about,
            max(columns, 2 * indent),
            break_on_hyphens=False,
            initial_indent=start,
            subsequent_indent=" " * indent,
        )
