"""Agents of `townctl run`: git asks the town of this machine's data directory, or uses the credentials of this user."""

from pathlib import Path

import pytest

from infra.agents.credentials import NotIssued, source_from
from infra.townctl.forges import secret_files
from shared.adapters.directory_objects import DirectoryObjects
from shared.ports.secrets import Secret
from tests.towns import a_town
from tests.worlds import a_world


def a_directory(place: Path, access: str, git_url: str = "https://github.com/acme/app.git") -> Path:
    """A data directory with a town in which an agent works with this access, and a token for agents."""
    town = a_town("t1").config(agent_forge_access=access)
    town = town.update("rigs", "rig-1", git_url=git_url)
    a_world(town.bead("b1").agent("toast", status="working", hook="b1", generation=5), objects=DirectoryObjects(place))
    secret_files(place).put("agents/towns/t1/forges/github.com", Secret("ghp_ofAgents"))
    return place


def test_the_town_of_a_directory_issues_what_is_stored_for_agents(tmp_path: Path) -> None:
    around = {"TOWN_AGENT_DATA": str(a_directory(tmp_path, "stored"))}
    issued = source_from(around, town_id="t1", agent_id="toast", generation=5)()
    assert issued.forge is not None
    assert (issued.forge.project, issued.forge.token.reveal()) == ("acme/app", "ghp_ofAgents")
    assert issued.forge.api_url == "https://api.github.com"


def test_the_deploy_key_of_a_rig_comes_from_there_too(tmp_path: Path) -> None:
    data = a_directory(tmp_path, "stored", git_url="git@github.com:acme/app.git")
    secret_files(data).put("agents/towns/t1/rigs/rig-1/deploy-key", Secret("the key"))
    secret_files(data).put("agents/towns/t1/rigs/rig-1/known-hosts", Secret("the hosts"))
    issued = source_from({"TOWN_AGENT_DATA": str(data)}, town_id="t1", agent_id="toast", generation=5)()
    assert issued.forge is not None
    assert issued.ssh_key is not None
    assert (issued.ssh_key.reveal(), issued.known_hosts) == ("the key", "the hosts")


def test_a_generation_that_is_over_gets_none(tmp_path: Path) -> None:
    around = {"TOWN_AGENT_DATA": str(a_directory(tmp_path, "stored"))}
    with pytest.raises(NotIssued) as refused:
        source_from(around, town_id="t1", agent_id="toast", generation=4)()
    assert refused.value.final


def test_an_agent_of_a_town_in_a_bucket_is_told_that_and_why_it_gets_none(tmp_path: Path) -> None:
    around = {"TOWNCTL_BUCKET": "towns", "TOWN_AGENT_DATA": str(tmp_path)}
    issued = source_from(around, town_id="t1", agent_id="toast", generation=5)()
    assert (issued.forge, issued.ssh_key) == (None, None)
    assert "does not know where the town's secrets are" in str(issued.reason)
    assert "keep the town in a data directory, or deploy it" in str(issued.reason)


def test_with_the_access_none_git_uses_the_credentials_of_its_user(tmp_path: Path) -> None:
    around = {"TOWN_AGENT_DATA": str(a_directory(tmp_path, "none"))}
    issued = source_from(around, town_id="t1", agent_id="toast", generation=5)()
    assert issued.forge is None
    assert "agent_forge_access is none" in str(issued.reason)
