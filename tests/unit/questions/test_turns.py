"""Pull requests that are polled in turn: what holds another row back is no reason of theirs."""

from datetime import timedelta

from shared.domain.times import to_text
from tests.towns import T, TownBuilder, a_town, ago

EPISODE = "forge_denied github.com * TOKEN"


def two_denied_pull_requests() -> TownBuilder:
    """Both are polled again in 20 min, one after the other; a third bead is blocked by the work of the first."""
    town = a_town()
    since = to_text(ago(minutes=2))
    town.key("forge_episodes", {EPISODE: {"obstacle": "forge_denied", "secret": "TOKEN", "since": since}})
    for number in (1, 2):
        url = f"https://github.com/acme/main-rig/pull/{number}"
        notes = {
            "obstacle": "forge_denied",
            "obstacle_since": since,
            "episode": EPISODE,
            "poll_not_before": to_text(T + timedelta(minutes=20)),
            "last_poll_at": to_text(ago(minutes=3)),
            "pr_url": url,
        }
        town.bead(f"b{number}", status="in_review")
        town.review(f"m{number}", "in_progress", of=f"b{number}", pr_url=url, metadata=notes)
    return town.bead("w").edge("w", "b1")


def test_a_pull_request_that_waits_for_its_turn_waits_for_its_forge() -> None:
    """Found as a dry run that ended with IndexError: the poll of the second one was said to be blocked, by nobody."""
    waits = two_denied_pull_requests().waits()
    assert [waits[review].reason for review in ("m1", "m2")] == ["forge_denied", "forge_denied"]
    assert "blocked_by" not in [guard.guard for guard in waits["m2"].guards]
    assert waits["w"].reason == "blocked_by"
