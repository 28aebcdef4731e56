"""The profile `small`: what it is watched by fits the free tiers, and what it costs keeps two bars."""

import json
import tomllib
from typing import Any

import pytest

from functions import wiring
from functions.settings import FunctionSettings, TickSettings
from infra.ops.dashboards import alarms
from shared.telemetry import catalogue
from shared.telemetry.profiles import SMALL
from tests.benchmarks.month.page import free_of
from tests.benchmarks.month.table import PASSES, costs, fleets, total
from tests.contracts.deployments import deployed
from tests.contracts.transformed import template
from tests.conventions.sources import ROOT

FREE_METRICS, FREE_ALARMS = 10, 10


def of_type(found: dict[str, dict[str, Any]], kind: str) -> dict[str, Any]:
    return {name: each["Properties"] for name, each in found.items() if each["Type"] == kind}


def test_ten_alarms_at_most_watch_a_small_deployment_and_each_has_its_series() -> None:
    small, standard = deployed(Profile="small"), deployed()
    watched = of_type(small, "AWS::CloudWatch::Alarm")
    assert set(watched) == {alarms.logical_id(name) for name in alarms.SMALL}
    assert len(watched) <= FREE_ALARMS
    assert len(of_type(standard, "AWS::CloudWatch::Alarm")) == len(alarms.names())
    ours = {each["MetricName"] for each in watched.values() if each["Namespace"] == catalogue.NAMESPACE}
    assert ours < SMALL
    assert len(SMALL) <= FREE_METRICS
    assert set(catalogue.BY_NAME) >= SMALL


def test_a_small_deployment_has_no_dashboard_and_its_queries_stay() -> None:
    small = deployed(Profile="small")
    assert not of_type(small, "AWS::CloudWatch::Dashboard")
    assert len(of_type(small, "AWS::Logs::QueryDefinition")) == len(of_type(deployed(), "AWS::Logs::QueryDefinition"))
    assert template()["Outputs"]["DashboardUrl"]["Condition"] == template()["Resources"]["Dashboard"]["Condition"]


def test_alarms_that_take_a_deployment_back_are_alarms_of_a_small_one_too() -> None:
    small = deployed(Profile="small", GradualDeployment="true")
    named = json.dumps(of_type(small, "AWS::CodeDeploy::DeploymentGroup"))
    assert "AlarmTownFails" in named
    for name in of_type(deployed(), "AWS::CloudWatch::Alarm"):
        assert name in small or f'"{name}"' not in named, name


@pytest.mark.parametrize("profile", ["standard", "small"])
def test_the_dispatcher_passes_as_often_as_its_profile_says(profile: str) -> None:
    told = deployed(Profile=profile)["TickFunction"]["Properties"]["Environment"]["Variables"]
    given = {name: str(told[name]) for name in ("STAGE", "PROFILE", "PASS_SECONDS")}
    settings = TickSettings.from_environment({**given, "TOWN_BUCKET": "b", "QUEUE_URL": "https://q.example"})
    assert settings.pass_seconds == PASSES[settings.profile].total_seconds()


def test_functions_write_the_series_of_their_profile(capsys: pytest.CaptureFixture[str]) -> None:
    for profile in ("standard", "small"):
        settings = FunctionSettings.from_environment({"STAGE": "test", "PROFILE": profile})
        wiring.metrics(settings).write({"townsFailed": 1, "agentTokens": 7}, {"event": "town.failed"})
    standard, small = map(json.loads, capsys.readouterr().out.splitlines())
    assert [each["Name"] for each in standard["_aws"]["CloudWatchMetrics"][0]["Metrics"]] == [
        "townsFailed",
        "agentTokens",
    ]
    assert [each["Name"] for each in small["_aws"]["CloudWatchMetrics"][0]["Metrics"]] == ["townsFailed"]
    assert small["agentTokens"] == standard["agentTokens"]


def test_the_stage_dev_is_small() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    assert "Profile=small" in config["default"]["deploy"]["parameters"]["parameter_overrides"]
    assert not any("Profile" in each for each in config["prod"]["deploy"]["parameters"]["parameter_overrides"])


def test_a_small_town_that_is_active_eight_hours_a_day_costs_at_most_two_dollars_a_month() -> None:
    """Six without the tiers that are free for ever; the town and its agents are those of docs/costs.md."""
    [small] = [fleet for fleet in fleets() if fleet.profile == "small"]
    found = list(costs(small))
    assert (small.towns, small.hours_a_day) == (1, 8)
    assert total(found) <= 6
    assert total(found) - free_of(found) <= 2
