"""A function calls AWS with credentials of AWS, or servers of one machine with theirs; if they are mixed, it stops at once."""

import pytest

from functions.settings import AuthorizerSettings, DebugSettings, TickSettings, WorkerSettings
from shared.domain.errors import Terminal

OF_AWS = {"AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE"}
OF_HERE = {"AWS_ACCESS_KEY_ID": "owner"}
AT_AWS = {"STAGE": "test", "TOWN_BUCKET": "towns", "QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/1/wakes.fifo"}
HERE = {
    "STAGE": "test",
    "TOWN_BUCKET": "towns",
    "STORE_ENDPOINT": "http://127.0.0.1:8333",
    "QUEUE_URL": "http://127.0.0.1:5000/1/wakes.fifo",
    "QUEUE_ENDPOINT": "http://127.0.0.1:5000",
    "TOKEN_SECRET": "town-tokens",
    "SECRETS_ENDPOINT": "http://127.0.0.1:5000",
}


def complaint(environment: dict[str, str]) -> str:
    with pytest.raises(Terminal) as error:
        WorkerSettings.from_environment(environment)
    assert "127.0.0.1" not in str(error.value)
    return error.value.message


def test_a_deployed_function_and_one_on_this_machine_may_start() -> None:
    assert WorkerSettings.from_environment(AT_AWS | OF_AWS).store_endpoint is None
    assert WorkerSettings.from_environment(HERE | OF_HERE).store_endpoint == "http://127.0.0.1:8333"


def test_where_the_credentials_are_not_in_the_environment_nothing_is_compared() -> None:
    assert TickSettings.from_environment(HERE).store_endpoint is not None
    assert TickSettings.from_environment(AT_AWS).store_endpoint is None


@pytest.mark.parametrize("key", ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"])
def test_credentials_of_aws_are_never_sent_to_another_server(key: str) -> None:
    said = complaint(HERE | {"AWS_ACCESS_KEY_ID": key})
    assert said.startswith("the credentials are those of an AWS account")
    assert said.endswith("STORE_ENDPOINT, QUEUE_ENDPOINT, QUEUE_URL, SECRETS_ENDPOINT")


@pytest.mark.parametrize("missing", ["STORE_ENDPOINT", "QUEUE_ENDPOINT", "SECRETS_ENDPOINT"])
def test_a_forgotten_endpoint_does_not_mean_the_real_bucket(missing: str) -> None:
    """`sam local invoke` passed none of the three: it would have asked the real bucket `towns` as the developer."""
    assert complaint({**HERE, **OF_HERE, missing: ""}).endswith(f"mean AWS: {missing}")


def test_a_table_is_on_the_same_side_as_the_bucket() -> None:
    assert complaint(HERE | OF_HERE | {"WAITING_TABLE": "waiting"}).endswith("mean AWS: TABLE_ENDPOINT")
    table = {"WAITING_TABLE": "waiting", "TABLE_ENDPOINT": "http://127.0.0.1:5000"}
    assert WorkerSettings.from_environment(HERE | OF_HERE | table).table_endpoint == "http://127.0.0.1:5000"
    assert "TABLE_ENDPOINT" in complaint(AT_AWS | OF_AWS | table)


@pytest.mark.parametrize(
    "url", ["https://s3.eu-west-1.amazonaws.com", "https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com"]
)
def test_an_endpoint_of_aws_is_aws(url: str) -> None:
    assert WorkerSettings.from_environment(AT_AWS | OF_AWS | {"STORE_ENDPOINT": url}).store_endpoint == url


@pytest.mark.parametrize(
    "url", ["https://amazonaws.com.example.org", "https://notamazonaws.com", "http://amazonaws.com@127.0.0.1"]
)
def test_a_host_that_only_looks_like_aws_is_not_aws(url: str) -> None:
    assert "STORE_ENDPOINT" in complaint(AT_AWS | OF_AWS | {"STORE_ENDPOINT": url})


def test_an_endpoint_of_the_sdk_counts_too() -> None:
    around = {"AWS_ENDPOINT_URL": "http://127.0.0.1:5000"}
    assert DebugSettings.from_environment(AT_AWS | OF_HERE | around).store_endpoint is None
    assert "STORE_ENDPOINT" in complaint(AT_AWS | OF_AWS | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:5000"})


def test_agents_on_ecs_are_started_at_aws() -> None:
    tasks = '{"one_task_per": "town", "cluster": "c", "task_definition": "t", "subnets": "s", "security_groups": "g"}'
    assert complaint(HERE | OF_HERE | {"ECS": tasks}).endswith("mean AWS: ECS")


def test_the_authorizer_compares_too() -> None:
    with pytest.raises(Terminal, match="SECRETS_ENDPOINT"):
        AuthorizerSettings.from_environment({"STAGE": "test", "TOKEN_SECRET": "key"} | OF_HERE)
