"""Where secrets are is one parameter: roles, settings and the stack's output follow it, and no role reads more than before."""

import pytest

from functions import wiring
from functions.settings import CredentialsSettings
from shared.adapters.secrets_manager import SecretsManager
from shared.adapters.ssm_parameters import SsmParameters, parameter_of
from tests.contracts.roles import ACCOUNT, KEY_SECRET, REGION, Right, Stack

TOKEN, FOR_AGENTS, APP = "towns/t1/forges/github.com", "agents/towns/t1/forges/gitlab.com", "apps/github.com"
FUNCTIONS = ("TickFunction", "WorkerFunction", "CredentialsFunction")


def right(store: str, prefix: str, name: str) -> Right:
    """What IAM asks for reading a secret."""
    if store == "ssm":
        return Right("ssm:GetParameters", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{parameter_of(prefix, name)}")
    return Right(
        "secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{prefix}/{name}-a1b2c3"
    )


@pytest.mark.parametrize("store", ["ssm", "secretsmanager"])
def test_each_role_reads_its_secrets_where_they_are_and_nowhere_else(store: str) -> None:
    stack = Stack(SecretsStore=store)
    other = "secretsmanager" if store == "ssm" else "ssm"
    for function in FUNCTIONS:
        prefix = stack.environment(function)["SECRETS_PREFIX"]
        may = {name: stack.allows(f"{function}Role", right(store, prefix, name)) for name in (TOKEN, FOR_AGENTS, APP)}
        is_credentials = function == "CredentialsFunction"
        assert may == {TOKEN: not is_credentials, FOR_AGENTS: True, APP: True}
        assert not stack.allows(f"{function}Role", right(store, prefix.replace("/dev", "/prod"), FOR_AGENTS))
        assert not stack.allows(f"{function}Role", right(other, prefix.strip("/"), FOR_AGENTS))
        key = Right("secretsmanager:GetSecretValue", KEY_SECRET)
        assert stack.allows(f"{function}Role", key) is not is_credentials


@pytest.mark.parametrize(("store", "kind"), [("ssm", SsmParameters), ("secretsmanager", SecretsManager)])
def test_functions_look_where_the_parameter_says(store: str, kind: type) -> None:
    prefix = Stack(SecretsStore=store).environment("CredentialsFunction")["SECRETS_PREFIX"]
    settings = CredentialsSettings.from_environment({"STAGE": "dev", "TOWN_BUCKET": "b", "SECRETS_PREFIX": prefix})
    wiring._secrets_below.cache_clear()
    assert isinstance(wiring._secrets_below(settings.secrets_prefix, None), kind)
    wiring._secrets_below.cache_clear()
