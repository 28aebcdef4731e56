"""`townctl bucket rules`: the lifecycle rules of a bucket that holds towns, and what retention says of a bucket without them.

The template gives its own bucket these rules. A bucket from elsewhere needs them if it is versioned: without them it keeps every
replaced head and everything that retention deletes.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from infra.buckets import Bucket
from infra.townctl.output import Answer
from shared.adapters import aws_sdk
from shared.storage import keys
from shared.storage.large_batches import BODIES

FEWEST_DAYS: Final = 2
MOST_DAYS: Final = 30
"""S3 slows down for a key with millions of versions; a head that is replaced every 5 s has half a million in this time."""

_TOWNS: Final = keys.TOWNS


def lifecycle(head_version_days: int) -> dict[str, Any]:
    """The rules in the form of `aws s3api put-bucket-lifecycle-configuration`."""
    replaced = {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
    gone = {"Expiration": {"ExpiredObjectDeleteMarker": True}}
    rules: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        (
            "replaced-heads-and-deleted-objects-of-towns",
            {"Prefix": _TOWNS},
            {"NoncurrentVersionExpiration": {"NoncurrentDays": head_version_days}, **gone},
        ),
        ("taken-inbox-objects", {"Tag": {"Key": "kind", "Value": "inbox"}}, replaced),
        ("replaced-logs-of-agents", {"Tag": {"Key": "kind", "Value": "log"}}, replaced),
        ("due-markers-that-are-gone", {"Prefix": "due/"}, {**replaced, **gone}),
        ("bodies-of-large-events-that-are-gone", {"Prefix": BODIES}, {**replaced, **gone}),
        ("notes-that-are-gone", {"Prefix": "watch/"}, {**replaced, **gone}),
        ("probes-of-the-doctor", {"Prefix": "probe/"}, {"Expiration": {"Days": 1}, **replaced}),
        ("uploads-that-were-given-up", {"Prefix": ""}, {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}),
    ]
    return {"Rules": [{"ID": name, "Status": "Enabled", "Filter": where, **what} for name, where, what in rules]}


def rules(
    *,
    head_version_days: Annotated[
        int,
        Parameter(
            validator=Number(gte=FEWEST_DAYS, lte=MOST_DAYS), help="Days for which every commit is a restore point."
        ),
    ] = FEWEST_DAYS,
) -> Answer:
    """Print the lifecycle rules that a bucket of your own needs.

    They are JSON for `aws s3api put-bucket-lifecycle-configuration --bucket NAME --lifecycle-configuration file://FILE`.
    """
    found = lifecycle(head_version_days)
    return Answer(found, (json.dumps(found, indent=2),))


def after_deletion(bucket: Bucket | None) -> tuple[str, ...]:
    """What the bucket does with objects that retention deletes, if it keeps them; nothing for other places."""
    if bucket is None:
        return ()
    client = bucket.objects().client
    try:
        if client.get_bucket_versioning(Bucket=bucket.name).get("Status") != "Enabled":
            return ()
        days = days_of_past_versions(client, bucket.name)
    except aws_sdk.sdk_errors() as error:
        code = aws_sdk.code_of(error) or type(error).__name__
        return (f"whether the bucket keeps what retention deletes is unknown: it does not say ({code})",)
    if days is None:
        hint = "`townctl bucket rules` prints the lifecycle rules that end that"
        return (f"the bucket is versioned and keeps every deleted object as a past version, for ever: {hint}",)
    return (f"the bucket is versioned: deleted objects stay as past versions for {days} more days",)


def days_of_past_versions(client: Any, bucket: str) -> int | None:
    """For how many days a bucket keeps past versions of a town's objects; None if no lifecycle rule ends that."""
    return _days(_rules_of(client, bucket))


def _rules_of(client: Any, bucket: str) -> Iterable[Mapping[str, Any]]:
    try:
        found: Iterable[Mapping[str, Any]] = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except aws_sdk.sdk_errors() as error:
        if aws_sdk.code_of(error) == "NoSuchLifecycleConfiguration":
            return ()
        raise
    return found


def _days(found: Iterable[Mapping[str, Any]]) -> int | None:
    """After how many days an enabled rule ends past versions of every object of a town; None if none does."""
    ends = [
        int(rule["NoncurrentVersionExpiration"]["NoncurrentDays"])
        for rule in found
        if rule["Status"] == "Enabled" and "NoncurrentVersionExpiration" in rule and _all_of_towns(rule)
    ]
    return min(ends, default=None)


def _all_of_towns(rule: Mapping[str, Any]) -> bool:
    where = rule.get("Filter", {"Prefix": rule.get("Prefix", "")})
    return set(where) <= {"Prefix"} and _TOWNS.startswith(where.get("Prefix", ""))
