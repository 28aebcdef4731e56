"""What agents may read: each holder of a token asks each question about everything, and sees exactly what its work is about.

Every bead of the town has a text of its own in its title and another one in its body. So an answer tells by its text alone which
beads it shows, whatever it looks like.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from functions.debug import app as debug
from functions.debug.agents import TOWN as AGENTS
from shared.domain.states import Scope
from tests.apis import deploy
from tests.cloud import a_cloud
from tests.http_events import Answer, Context, request
from tests.scenarios.table import scenario
from tests.towns import TownBuilder, a_town, ago
from tests.worlds import World, a_world

ROUTES = sorted(route.path.removeprefix(AGENTS) for route in debug.ROUTES if route.path.startswith(AGENTS))
LISTS = ["/agents", "/beads", "/convoys", "/mail", "/reviews"]
BATCH: dict[str, Any] = {"labels": ["gt:triage"], "created_by": "patrol", "metadata": {"request_ids": ["asked"]}}
OF_OTHERS = ("other", "other-review", "alone", "note-to-nux", "note-to-mayor", "asked", "answers", "raised")
OF_TOAST = ("own", "sibling", "parser", "review", "landed", "message")
OF_MENDER = ("rework", "reworked", "worked")
EVERYTHING = frozenset({*OF_OTHERS, *OF_TOAST, *OF_MENDER})


@dataclass(frozen=True)
class Holder:
    """The claims of a token, and the beads that it shows in full and in lists besides."""

    scope: Scope
    agent: str | None = None
    generation: int | None = 5
    town: str = "one"
    full: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()

    @property
    def claims(self) -> dict[str, str]:
        said = {"town": self.town, "scope": self.scope, "expires": "99999999999"}
        more = {"agent": self.agent, "generation": None if self.agent is None else self.generation}
        return said | {name: str(value) for name, value in more.items() if value is not None}


CONVOY = frozenset({"own", "review", "parser"})
OF_CONVOY = frozenset({"sibling", "landed"})
WORKER = CONVOY | {"message"}
SEEING = {
    "a polecat": Holder("agent", "toast", full=WORKER, listed=OF_CONVOY),
    "a polecat, with a token made by hand": Holder("agent", "toast", None, full=WORKER, listed=OF_CONVOY),
    "a polecat, with a token that says too much": Holder("coordinator", "toast", full=WORKER, listed=OF_CONVOY),
    "the refinery of its review": Holder("agent", "judge", full=CONVOY, listed=OF_CONVOY),
    "a polecat that reworks": Holder("agent", "mender", full=frozenset(OF_MENDER)),
    "an idle polecat": Holder("agent", "idler", 0),
    "the mayor": Holder("coordinator", "mayor", full=EVERYTHING),
    "the mayor, in a session that no dispatch has numbered": Holder("coordinator", "mayor", 6, full=EVERYTHING),
    "a triage polecat": Holder("coordinator", "nux", full=EVERYTHING),
    "a triage polecat, with an ordinary token": Holder("agent", "nux", full=frozenset({"answers", "note-to-nux"})),
}
BLIND = {
    "a container": (Holder("container"), "scope container"),
    "an operator": (Holder("operator"), "scope operator"),
    "an older generation": (Holder("agent", "toast", 4), "generation 4"),
    "a generation that never was": (Holder("agent", "toast", 6), "generation 6"),
    "an older generation of the mayor": (Holder("coordinator", "mayor", 4), "generation 4"),
    "a generation that was asked to stop": (Holder("agent", "stopped"), "lease"),
    "a generation whose hook ended long ago": (Holder("agent", "late"), "lease"),
    "a deleted agent": (Holder("agent", "gone"), "no agent gone"),
    "a coordinator that was deleted": (Holder("coordinator", "gone"), "no agent gone"),
}


def a_town_full_of_secrets() -> TownBuilder:
    """Two lines of work that have nothing to do with each other, a triage batch, mail and an escalation."""
    town = a_town("one").update("agent_metadata", "mayor", generation=5, status="working")
    for bead_id in ("own", "sibling", "other", "alone", "worked"):
        _with_texts(town, bead_id, status="in_progress")
    town.convoy("parser", tracked=["own", "sibling"], title="title-parser", body="body-parser")
    _with_review(town, "review", of="own")
    _with_review(town, "other-review", of="other")
    _with_review(town, "reworked", of="worked")
    _with_review(town, "landed", of="parser")
    _with_texts(town, "rework", labels=["gt:rework"], parent_bead_id="reworked", status="in_progress")
    _with_texts(town, "asked", labels=["gt:triage-request"])
    _with_texts(town, "answers", status="in_progress", **BATCH)
    _with_texts(town, "raised", kind="escalation")
    for bead_id, to in (("message", "toast"), ("note-to-nux", "nux"), ("note-to-mayor", "mayor")):
        _with_texts(town, bead_id, kind="message", assignee_agent_bead_id=to)
    for agent_id, role, hook in (
        ("toast", "polecat", "own"),
        ("judge", "refinery", "review"),
        ("mender", "polecat", "rework"),
        ("nux", "polecat", "answers"),
        ("other-agent", "polecat", "other"),
        ("stopped", "polecat", None),
    ):
        town.agent(agent_id, role, "working", hook=hook, generation=5, dispatched_at=ago(minutes=5))
    town.agent("idler", generation=0)
    town.agent("late", generation=5, dispatched_at=ago(hours=2), hook_ended_at=ago(minutes=16))
    return town.insert(
        "outbox", effect_id="stop-1", seq=1, kind="stop_agent", subject="stopped", generation=5, **_REQUESTED
    )


_REQUESTED: dict[str, Any] = {
    "payload": {},
    "state": "pending",
    "created_at": ago(minutes=1),
    "deadline": ago(minutes=-5),
}


def _with_texts(town: TownBuilder, bead_id: str, *, kind: str = "issue", **columns: Any) -> None:
    town.bead(bead_id, kind, title=f"title-{bead_id}", body=f"body-{bead_id}", **columns)


def _with_review(town: TownBuilder, bead_id: str, *, of: str) -> None:
    town.review(bead_id, "in_progress", of=of, title=f"title-{bead_id}", body=f"body-{bead_id}")


@dataclass
class Towns:
    """The town and its API."""

    world: World
    lines: list[str] = field(default_factory=list)

    def ask(self, holder: Holder, below: str, *, town: str = "one", **more: Any) -> Answer:
        """What the API answers the holder of a token."""
        asked = request("GET", f"/api/agents/towns/{town}{below}", claims=holder.claims, **more)
        return Answer.of(debug.answered(asked, self.lines.append))


@pytest.fixture
def towns(monkeypatch: pytest.MonkeyPatch) -> Towns:
    world = a_world(a_town_full_of_secrets(), a_town("two"))
    deploy(a_cloud(world), monkeypatch)
    return Towns(world)


def shown(answer: Answer) -> tuple[set[str], set[str]]:
    """The beads whose titles an answer shows, and those whose bodies it shows."""
    text = json.dumps(answer.document)
    return set(re.findall(r"title-([\w-]+)", text)), set(re.findall(r"body-([\w-]+)", text))


def agents_named(answer: Answer) -> set[str]:
    return {each["agentId"] for each in answer.document["agents"]}


@scenario(545)
@pytest.mark.parametrize("who", SEEING)
def test_a_holder_sees_in_lists_what_its_work_is_about_and_no_text_of_any_other_bead(towns: Towns, who: str) -> None:
    holder = SEEING[who]
    answer = towns.ask(holder, "/beads")
    assert answer.status == 200
    assert shown(answer) == (set(holder.full | holder.listed), set())
    waiting = {each["beadId"] for each in answer.document["waiting"]}
    assert waiting <= holder.full
    convoys = towns.ask(holder, "/convoys")
    assert shown(convoys) == ({"parser"} & holder.full, set())
    reviews = towns.ask(holder, "/reviews")
    assert shown(reviews) == ({"review", "other-review", "reworked", "landed"} & holder.full, set())
    mail = {"message", "note-to-nux", "note-to-mayor"} & holder.full
    assert shown(towns.ask(holder, "/mail")) == (mail, mail)


@scenario(545)
@pytest.mark.parametrize("who", SEEING)
def test_a_holder_reads_the_beads_of_its_work_and_every_other_bead_is_unknown_to_it(towns: Towns, who: str) -> None:
    holder = SEEING[who]
    unknown = towns.ask(holder, "/beads/no-such-bead")
    for bead_id in sorted(EVERYTHING):
        read, explained = (towns.ask(holder, f"/{what}/{bead_id}") for what in ("beads", "explain/beads"))
        if bead_id in holder.full:
            assert (read.status, shown(read)) == (200, ({bead_id}, {bead_id}))
            assert explained.status == 200
        else:
            assert (read.status, read.document) == (404, unknown.document)
            assert explained.status == 404
            assert shown(explained) == (set(), set())


@scenario(545)
@pytest.mark.parametrize("who", SEEING)
def test_only_coordinators_see_other_agents_and_the_status(towns: Towns, who: str) -> None:
    holder = SEEING[who]
    whole = holder.full == EVERYTHING
    everybody = {"mayor", "toast", "judge", "mender", "nux", "other-agent", "stopped", "idler", "late"}
    assert agents_named(towns.ask(holder, "/agents")) == (everybody if whole else {holder.agent})
    for agent_id in sorted(everybody):
        seen = whole or agent_id == holder.agent
        assert towns.ask(holder, f"/explain/agents/{agent_id}").status == (200 if seen else 404)
        # an agent's own row is a bead too
        assert towns.ask(holder, f"/beads/{agent_id}").status == (200 if seen else 404)
    for below in ("/status", "/rigs", "/escalations"):
        assert towns.ask(holder, below).status == (200 if whole else 403)


@pytest.mark.parametrize("text", ["body-sibling", "body-own", "dy-sib"])
def test_a_search_does_not_tell_an_agent_what_the_body_of_another_bead_says(towns: Towns, text: str) -> None:
    found = towns.ask(SEEING["a polecat"], "/beads", query={"text": text})
    assert (found.status, found.document["beads"]) == (200, [])
    assert towns.ask(SEEING["the mayor"], "/beads", query={"text": "body-sibling"}).document["beads"] != []


@pytest.mark.parametrize(
    "narrowed", [{"convoy": "parser"}, {"status": "live"}, {"type": "merge_request"}, {"rig": "rig-1"}]
)
def test_no_filter_shows_an_agent_more_than_the_list_without_it(towns: Towns, narrowed: dict[str, str]) -> None:
    holder = SEEING["a polecat"]
    whole, _ = shown(towns.ask(holder, "/beads"))
    found, bodies = shown(towns.ask(holder, "/beads", query=narrowed))
    assert found
    assert found <= whole
    assert bodies == set()


def test_pages_show_an_agent_the_same_as_one_long_list(towns: Towns) -> None:
    holder = SEEING["a polecat"]
    found: list[str] = []
    query: dict[str, str] = {"limit": "2"}
    while True:
        page = towns.ask(holder, "/beads", query=query).document
        found += [each["beadId"] for each in page["beads"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert found == [each["beadId"] for each in towns.ask(holder, "/beads").document["beads"]]


@scenario(545)
@pytest.mark.parametrize("who", BLIND)
@pytest.mark.parametrize("below", ROUTES)
def test_who_may_see_nothing_gets_the_reason_and_nothing_else(towns: Towns, who: str, below: str) -> None:
    holder, why = BLIND[who]
    for bead_id in ("own", "no-such-bead"):
        answer = towns.ask(holder, below.format(beadId=bead_id, agentId="toast"))
        assert answer.status == 403
        assert answer.is_problem
        assert why in answer.document["detail"]
        assert shown(answer) == (set(), set())


@pytest.mark.parametrize("below", ROUTES)
def test_a_foreign_town_and_one_that_does_not_exist_look_the_same(towns: Towns, below: str) -> None:
    path = below.format(beadId="own", agentId="toast")
    answers = [
        towns.ask(SEEING["the mayor"], path, town="two"),
        towns.ask(SEEING["the mayor"], path, town="none"),
        towns.ask(SEEING["the mayor"], path, town="NOT an id"),
        towns.ask(Holder("coordinator", "mayor", town="none"), path, town="none"),
        towns.ask(Holder("container", town="two"), path),
    ]
    assert {each.status for each in answers} == {404}
    assert len({json.dumps(each.document) for each in answers}) == 1


def test_the_answer_for_a_foreign_town_does_not_read_the_store(towns: Towns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towns.world.objects, "get", lambda _: pytest.fail("the store was read"))
    assert towns.ask(SEEING["the mayor"], "/beads", town="two").status == 404


@pytest.mark.parametrize("below", ROUTES)
def test_a_request_without_claims_is_refused(towns: Towns, below: str) -> None:
    path = f"/api/agents/towns/one{below.format(beadId='own', agentId='toast')}"
    signed = request("GET", path, caller="arn:aws:sts::123456789012:assumed-role/Operator/somebody")
    for asked in (signed, request("GET", path), request("GET", path, claims={"town": "one"})):
        assert debug.lambda_handler(asked, Context())["statusCode"] == 401


def test_each_request_leaves_one_audit_line_with_the_holder(towns: Towns) -> None:
    towns.ask(SEEING["a polecat"], "/beads")
    towns.ask(BLIND["an older generation"][0], "/beads")
    lines = [json.loads(line) for line in towns.lines]
    assert [(line["event"], line["status"], line["agent"], line["generation"]) for line in lines] == [
        ("audit.request", 200, "toast", "5"),
        ("audit.request", 403, "toast", "4"),
    ]


@pytest.mark.parametrize("below", LISTS)
def test_an_answer_that_the_agent_knows_is_not_sent_again(towns: Towns, below: str) -> None:
    first = towns.ask(SEEING["a polecat"], below)
    again = towns.ask(SEEING["a polecat"], below, headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.document) == (304, None)


def test_an_agent_whose_work_ends_sees_it_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = {"current_hook_bead_id": None, "hook_ended_at": ago(minutes=1), "status": "idle"}
    world = a_world(a_town_full_of_secrets().update("agent_metadata", "toast", **ended))
    deploy(a_cloud(world), monkeypatch)
    towns = Towns(world)
    assert towns.ask(SEEING["a polecat"], "/beads/own").status == 404
    assert towns.ask(SEEING["a polecat"], "/beads/message").status == 200
