"""What the scripted model lets real coding agents do in the demo: the same story as that of the demo's own agents.

The agents run the commands of their prompts. In between, they write the modules of the demo. One of them is killed between its push
and its report, and one review asks for a test.
"""

import re
from typing import Final

from infra.demo import scenario
from infra.demo.feature_modules import FEATURES, TESTS
from infra.devstack.model_server import workers
from infra.devstack.model_server.scripts import Script, Shell, Step

_CRASHED: Final = "refs/demo/crashed"
_KILL_THE_AGENT: Final = """\
kill -9 "$(sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p' "$(dirname "$TOWN_AGENT_CONTEXT")/../process.json")"
sleep 60"""
"""Kills the process that the runtime has started, which is the driver. The runtime notes its pid beside the agent's desk."""


def scripts() -> tuple[Script, ...]:
    """The scripts of every agent of the demo."""
    found: list[Script] = [workers.lands("Build a parser"), workers.mayor_that_waits()]
    for title, body in scenario.works():
        crash = (Step(Shell(_once(_KILL_THE_AGENT))),) if "demo: crash-once" in body else ()
        found.append(workers.implements(title, _writes(_module(title), title), *crash))
        if "demo: changes-once" in body:
            found += [_review_with_changes(title), workers.reworks(title, _writes(_test(title), f"A test: {title}"))]
        else:
            found.append(workers.approves(title))
    return tuple(found)


def _review_with_changes(title: str) -> Script:
    wants = f"Please add a test for {_module(title)}."
    return workers.approves_if(title, f"test -e {_test(title)}", wants=wants, file=_module(title))


def _module(title: str) -> str:
    return f"{FEATURES}/{_slug(title)}.py"


def _test(title: str) -> str:
    return f"{TESTS}/test_{_slug(title)}.py"


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", title.lower())


def _writes(path: str, text: str) -> str:
    return f'mkdir -p $(dirname {path}) && printf \'%s\\n\' \'"""{text}."""\' > {path}'


def _once(command: str) -> str:
    """Run a command unless an agent has already run it. A ref in the shared repository says so."""
    return (
        f'if [ -z "$(git ls-remote origin {_CRASHED})" ]; then\ngit push --quiet origin HEAD:{_CRASHED}\n{command}\nfi'
    )
