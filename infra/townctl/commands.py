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
    "utc": "Show times as they are stored, in UTC, instead of how long ago they were.",
    "json": "Print one JSON document instead of tables.",
}
"""The options of every command: where the towns are, and the form of the answer."""

GROUPS: Final = {
    "town": "Create towns, list them, show what one is doing, archive or delete one.",
    "setting": "List, show and change the settings of a town.",
    "bead": "List, show, create, change, cancel, reopen and delete the beads of a town.",
    "agent": "List the agents of a town, reset or nudge one.",
    "convoy": "List, create, start, change and close the convoys of a town.",
    "review": "List the reviews of a town.",
    "rig": "List the rigs of a town, remove one.",
    "escalation": "List the escalations of a town, acknowledge one.",
    "mail": "List the messages of a town.",
    "mayor": "Talk with the mayor of a town.",
    "event": "Post events to a town's inbox, list and show them, redrive poisoned ones, show their types.",
    "explain": "Show the history of one bead or agent and why it waits, or what a rule or a setting does.",
    "secret": "Store, list and remove the tokens for forges, which are never shown, and manage the keys of a deployment.",
    "bucket": "Prepare a bucket of your own for towns, and take in what was left in it.",
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
        "town resume",
        "townctl.towns:resume",
        "Run a town again that was set aside because its runs ended their processes.",
    ),
    Command("town list", "townctl.towns:list_", "List the towns with their latest ticks."),
    Command(
        "town archive",
        "townctl.archiving:archive",
        "Put a paused town away: it is not run or listed any more, and `townctl town bring-back` makes it a town again.",
    ),
    Command(
        "town archived",
        "townctl.archiving:archived",
        "List the archived towns, with who archived them and why, and until when they are certainly kept.",
    ),
    Command(
        "town bring-back",
        "townctl.archiving:bring_back",
        "Make an archived town a town again, as it was; it is still paused.",
    ),
    Command(
        "town delete",
        "townctl.archiving:delete",
        "Archive a paused town; or delete one for good, with its whole past, that has been archived for 30 days.",
    ),
    Command(
        "town status",
        "townctl.towns:status",
        "Show what a town is doing and, for every waiting bead, why and until when it waits.",
    ),
    Command(
        "pause",
        "townctl.brake:pause",
        "Pause a town, or all: no rule acts, and nothing is started, until `townctl start`.",
    ),
    Command("start", "townctl.brake:start", "Start a paused town, or all that were paused by `townctl pause`."),
    Command(
        "watch",
        "townctl.watch:watch",
        "Show a town live until Ctrl-C: what waits for somebody, who works, what just happened and what comes next.",
    ),
    Command(
        "setting list",
        "townctl.setting_commands:list_",
        "List every setting of a town with its value, and the values that rigs have of their own.",
    ),
    Command(
        "setting show",
        "townctl.setting_commands:show",
        "Show one setting of a town: its value, since when it holds and who set it, its last changes, and what it does.",
    ),
    Command(
        "setting set",
        "townctl.setting_commands:set_",
        "Set one setting of a town, or of a rig with --rig: post the event that changes it, which the next tick applies.",
    ),
    Command("bead list", "townctl.beads:list_", "List the beads of a town, including closed ones, newest first."),
    Command(
        "bead show", "townctl.beads:show", "Show one bead in full: its rows, its dependencies and its audit trail."
    ),
    Command(
        "bead create",
        "townctl.acts:create_bead",
        "Create an issue, which gets an agent as soon as nothing holds it back.",
    ),
    Command(
        "bead update",
        "townctl.acts:update_bead",
        "Change a live bead: its title, details or priority, or the labels that hold it.",
    ),
    Command(
        "bead cancel",
        "townctl.acts:cancel_bead",
        "Cancel a bead with its reviews; of a convoy, also the live beads in it.",
    ),
    Command(
        "bead reopen",
        "townctl.acts:reopen_bead",
        "Try a failed bead again, with all of its attempts reset.",
    ),
    Command(
        "bead delete",
        "townctl.acts:delete_bead",
        "Delete a bead that is over, with its reviews and parts.",
    ),
    Command("agent list", "townctl.beads:agents", "List the agents of a town with what they work on."),
    Command(
        "agent reset",
        "townctl.acts:reset_agent",
        "Stop an agent and give its bead back, with the attempts of both reset.",
    ),
    Command(
        "agent nudge",
        "townctl.acts:nudge_agent",
        "Tell a running agent something.",
    ),
    Command("convoy list", "townctl.beads:convoys", "List the convoys of a town, including landed ones, newest first."),
    Command(
        "convoy create",
        "townctl.acts:create_convoy",
        "Create a convoy: issues that are done and landed together.",
    ),
    Command(
        "convoy start",
        "townctl.acts:start_convoy",
        "Start a staged convoy, or let one that is held be landed again.",
    ),
    Command(
        "convoy close",
        "townctl.acts:close_convoy",
        "Close a convoy, whatever the state of its tasks: live ones are closed, and their agents stop.",
    ),
    Command(
        "convoy add",
        "townctl.acts:add_to_convoy",
        "Add beads to a convoy.",
    ),
    Command(
        "convoy edit",
        "townctl.acts:edit_convoy",
        "Change a live convoy: its title, its details, or, while it is staged, how it is merged.",
    ),
    Command(
        "convoy remove",
        "townctl.acts:remove_from_convoy",
        "Take beads out of a convoy.",
    ),
    Command(
        "review list", "townctl.town_lists:reviews", "List the reviews of a town, including closed ones, newest first."
    ),
    Command("rig list", "townctl.town_lists:rigs", "List the rigs of a town with the work in each."),
    Command("rig remove", "townctl.acts:remove_rig", "Remove a rig that has no work."),
    Command(
        "escalation list",
        "townctl.town_lists:escalations",
        "List the escalations of a town, including closed ones, newest first.",
    ),
    Command(
        "escalation acknowledge",
        "townctl.acts:acknowledge",
        "Say that a person has seen an escalation: it is not raised again.",
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
        "event show",
        "townctl.events:show",
        "Show one event in full: what it says, who sent it, when it came, its outcome and its tick, and the settings it changed.",
    ),
    Command(
        "event redrive", "townctl.events:redrive", "Redrive a poisoned event: post a copy with the id `<id>:r<n>`."
    ),
    Command(
        "event types",
        "townctl.event_types:types",
        "List the types of events and who may send them; with a type, show its fields and an example that can be posted.",
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
        "explain rule",
        "townctl.explain_words:rule",
        "Show what a rule does, by the code in a table or by its name; or what it means that a bead waits for a reason.",
    ),
    Command(
        "explain setting",
        "townctl.explain_words:setting",
        "Show what a setting does, its type and its default, and which modules read it.",
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
        "backtest",
        "townctl.backtests:backtest",
        "Run recorded windows of many towns with the code of a working tree, and show what it would have done otherwise.",
    ),
    Command(
        "shadow",
        "townctl.shadow:shadow",
        "Run each new tick again with the code of a working tree until Ctrl-C, and show and count where it would do otherwise.",
    ),
    Command(
        "points",
        "townctl.points:points",
        "List the newest commits that a town can be restored to, with the settings that each changed, and their total number.",
    ),
    Command("restore", "townctl.restore_points:restore", "Restore a town as it was, to a file or as a new commit."),
    Command(
        "mend",
        "townctl.mending:mend",
        "Make objects of a town again that are damaged or missing, from what is still there.",
    ),
    Command("flush", "townctl.restore_points:flush", "Publish the newest commit as a file that Litestream can read."),
    Command(
        "retention",
        "townctl.restore_points:retention",
        "Show which objects no restore point needs any more, or delete them.",
    ),
    Command(
        "bucket rules",
        "townctl.bucket_rules:rules",
        "Print the lifecycle rules that a bucket of your own needs.",
    ),
    Command(
        "bucket gather",
        "townctl.gathering:gather",
        "Take in events and due markers that were left where nobody reads them.",
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
        "Create a new town from the newest state of a replica that Litestream wrote. "
        "It is paused until `townctl start`.",
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
        "secret copy",
        "townctl.copied_secrets:copy",
        "Copy all secrets below a prefix to another one, as when a stack changes SecretsStore.",
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
    Command(
        "secret set-webhook",
        "townctl.webhook_commands:set_webhook",
        "Store the secret that signs the webhooks of a town, read from standard input; without a town, those of the fleet.",
    ),
    Command(
        "secret remove-webhook",
        "townctl.webhook_commands:remove_webhook",
        "Remove the secret that signs the webhooks of a town; without a town, those of the fleet.",
    ),
    Command("secret remove", "townctl.secret_commands:remove", "Remove a token."),
    Command("token", "townctl.town_token:token", "Print a token for the header `Authorization: Bearer TOKEN`."),
    Command(
        "serve",
        "townctl.serve:serve",
        "Serve the API and tick the towns of a data directory or bucket until Ctrl-C or SIGTERM.",
    ),
    Command(
        "ui",
        "ui.command:ui",
        "Show the towns as a page in a browser: what each does, why things wait, what happened, what would have happened.",
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
    "backtest": ("it runs code of this machine on whole images of the towns", _USE_BUCKET),
    "shadow": ("it runs code of this machine on whole images of the towns", _USE_BUCKET),
    "restore": (
        "it reads whole images of the town and replaces its newest one",
        _USE_BUCKET,
    ),
    "mend": ("it reads and writes objects of the town", _USE_BUCKET),
    "flush": ("it writes an object of the town", _USE_BUCKET),
    "retention": (
        "it deletes objects of the town",
        f"a deployment does this once a day; to look at it, {_USE_BUCKET}",
    ),
    "bucket rules": ("it prints what a bucket needs", "leave --api out; the bucket of a stack has its rules"),
    "bucket gather": ("it moves what waits between a bucket and a table", _USE_BUCKET),
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
