"""Promises of the template that a small change could break silently: how long wakes are kept, and that TLS is required."""

from shared.adapters.rotated_secret import LONGEST_SILENCE_SECONDS
from tests.contracts.transformed import resources


def test_no_object_of_a_town_moves_to_a_colder_storage_class() -> None:
    """A town reads its layers at every cold start, and an archived object would be an error."""
    [bucket] = resources("AWS::S3::Bucket").values()
    for rule in bucket["LifecycleConfiguration"]["Rules"]:
        assert not {"Transition", "Transitions", "NoncurrentVersionTransitions"} & set(rule), rule["Id"]


def test_no_queue_accepts_plain_http() -> None:
    [policy] = resources("AWS::SQS::QueuePolicy").values()
    assert {queue["Ref"] for queue in policy["Queues"]} == set(resources("AWS::SQS::Queue"))
    [statement] = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_wake_is_delivered_five_times_before_it_is_dead_and_is_kept_long_enough_for_that() -> None:
    wakes = resources("AWS::SQS::Queue")["Wakes"]
    assert wakes["RedrivePolicy"]["maxReceiveCount"] == 5
    assert wakes["MessageRetentionPeriod"] > 5 * wakes["VisibilityTimeout"]


def test_the_authorizer_lives_longer_than_it_waits_for_secrets_manager_to_answer() -> None:
    """It timed out after 10 s while it waited up to 15 s, and so lost the keys that it should have used for an hour."""
    assert resources("AWS::Lambda::Function")["AuthorizerFunction"]["Timeout"] > LONGEST_SILENCE_SECONDS
