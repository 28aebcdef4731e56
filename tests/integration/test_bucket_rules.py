"""The lifecycle rules of buckets that no template made: printed, accepted by S3, and what retention says without them."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.buckets import Bucket
from infra.devstack.s3_servers import S3Server
from infra.townctl import bucket_rules, main
from infra.townctl.bucket_rules import MOST_DAYS, after_deletion, lifecycle
from shared.domain import limits
from shared.storage import keys
from tests.contracts.deployments import deployed
from tests.contracts.transformed import template
from tests.s3_stub import refuse, stub_s3

BUCKET = "a-bucket-of-mine"


@pytest.fixture
def client(moto: S3Server, as_owner: None) -> Any:
    client = Bucket(BUCKET, moto.endpoint_url).objects().client
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.delete_bucket(Bucket=BUCKET)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main.run(["bucket", "rules", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_rules_are_those_of_the_template_without_the_shelf_of_a_stack() -> None:
    rules = deployed(HeadVersionDays="5")["Towns"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert [_as_of_the_api(rule) for rule in rules] == lifecycle(5)["Rules"]


def _as_of_the_api(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule of CloudFormation in the words of S3's own API."""
    [tag] = rule.get("TagFilters", [None])
    found: dict[str, Any] = {
        "ID": rule["Id"],
        "Status": rule["Status"],
        "Filter": {"Prefix": rule.get("Prefix", "")} if tag is None else {"Tag": tag},
    }
    if "NoncurrentVersionExpiration" in rule:
        found["NoncurrentVersionExpiration"] = {
            "NoncurrentDays": int(rule["NoncurrentVersionExpiration"]["NoncurrentDays"])
        }
    if "ExpirationInDays" in rule:
        found["Expiration"] = {"Days": rule["ExpirationInDays"]}
    if "ExpiredObjectDeleteMarker" in rule:
        found["Expiration"] = {"ExpiredObjectDeleteMarker": rule["ExpiredObjectDeleteMarker"]}
    if "AbortIncompleteMultipartUpload" in rule:
        found["AbortIncompleteMultipartUpload"] = rule["AbortIncompleteMultipartUpload"]
    return found


def test_the_days_are_bounded_in_the_template_and_here_alike_by_the_versions_of_one_head() -> None:
    """S3 slows down for a key with millions of versions; 365 days of a busy head were six millions."""
    bounds = template()["Parameters"]["HeadVersionDays"]
    assert (bounds["MinValue"], bounds["MaxValue"]) == (bucket_rules.FEWEST_DAYS, MOST_DAYS)
    assert MOST_DAYS * 86_400 / limits.ACTIVE_INTERVAL.total_seconds() < 1_000_000


def test_what_is_printed_is_accepted_by_the_bucket_and_ends_what_retention_deletes(
    client: Any, moto: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = Bucket(BUCKET, moto.endpoint_url)
    assert after_deletion(bucket) == ()  # without versions, a deletion deletes
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    [said] = after_deletion(bucket)
    assert "for ever" in said
    assert "townctl bucket rules" in said

    other = {"ID": "x", "Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
    only_inboxes = {**other, "Filter": {"Tag": {"Key": "kind", "Value": "inbox"}}}
    off = {**other, "ID": "y", "Status": "Disabled", "Filter": {"Prefix": keys.TOWNS}}
    client.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [only_inboxes, off]})
    assert after_deletion(bucket) == (said,)

    rules = printed(capsys, "--head-version-days", "3")
    client.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=rules)
    assert after_deletion(bucket) == ("the bucket is versioned: deleted objects stay as past versions for 3 more days",)


def test_retention_says_it(client: Any, moto: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    here = Bucket(BUCKET, moto.endpoint_url).options()
    assert main.run([*here, "town", "create", "alpha"]) == 0
    capsys.readouterr()
    assert main.run([*here, "retention", "alpha"]) == 0
    assert "keeps every deleted object as a past version, for ever" in capsys.readouterr().out
    assert main.run(["--data", str(tmp_path / "data"), "town", "create", "alpha"]) == 0
    capsys.readouterr()
    assert main.run(["--data", str(tmp_path / "data"), "retention", "alpha"]) == 0
    assert "past version" not in capsys.readouterr().out
    versions = client.list_object_versions(Bucket=BUCKET)
    for each in (*versions.get("Versions", ()), *versions.get("DeleteMarkers", ())):
        client.delete_object(Bucket=BUCKET, Key=each["Key"], VersionId=each["VersionId"])


def test_a_bucket_that_may_not_be_asked_is_unknown_and_not_an_error(as_owner: None) -> None:
    with stub_s3() as stub:
        stub.faults.append(refuse(403, "AccessDenied"))
        [said] = after_deletion(Bucket(BUCKET, stub.url))
    assert "is unknown" in said
    assert "AccessDenied" in said


@pytest.mark.parametrize("days", ["1", "31"])
def test_days_outside_the_bounds_are_refused(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["bucket", "rules", "--head-version-days", days]) == 2
    assert "head-version-days" in capsys.readouterr().err
