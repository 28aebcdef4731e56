"""Mail to people through an SNS topic, whose subscribers are the addresses of the deployment.

SNS takes a message whether or not anybody has confirmed a subscription: `townctl doctor --stack` tells that.
"""

from functools import partial
from typing import Final

from shared.adapters import aws_sdk
from shared.adapters.aws_sdk import AwsClient, OnDemand
from shared.ports.notices import Untold

_SUBJECT_AT_MOST: Final = 99
_FINAL: Final = frozenset({"InvalidParameter", "ParameterValueInvalid", "ValidationException"})
"""Codes of answers that refuse the message itself. Everything else may pass, or an operator can mend it."""

_CONNECT_SECONDS: Final = 2
_READ_SECONDS: Final = 4
_ATTEMPTS: Final = 2


class SnsMail:
    """A topic. boto3 is imported at the first mail."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._client = OnDemand(partial(_client, topic.split(":")[3]))

    def send(self, subject: str, text: str) -> Untold | None:
        """Send a mail; None if SNS has taken it. Never raises for what SNS says."""
        try:
            self._client().publish(TopicArn=self._topic, Subject=_subject(subject), Message=text)
        except aws_sdk.sdk_errors() as error:
            code = aws_sdk.code_of(error)
            said = f"the SNS topic {self._topic.rpartition(':')[2]}: {code or type(error).__name__}"
            return Untold(said, passing=code not in _FINAL)
        return None


def _client(region: str) -> AwsClient:
    return aws_sdk.client(
        "sns", connect_seconds=_CONNECT_SECONDS, read_seconds=_READ_SECONDS, attempts=_ATTEMPTS, region=region
    )


def _subject(text: str) -> str:
    """A subject as SNS accepts it: printable ASCII, less than 100 characters, beginning with a letter, a digit or punctuation."""
    printable = "".join(each if each.isascii() and each.isprintable() else "?" for each in text)
    return " ".join(printable.split())[:_SUBJECT_AT_MOST].rstrip() or "Notice"
