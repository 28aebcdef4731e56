"""Runs the commands of a runbook page in this process: townctl for real, `aws` as calls of the SDK against moto."""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.townctl import main
from tests.conventions.sources import ROOT

_BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_S3 = re.compile(r"s3://([^/]+)/?(.*)")


def commands_of(page: str, *, section: str = "") -> Iterator[list[str]]:
    """The commands of a page, or of the section with this title, in order."""
    text = (ROOT / f"docs/runbook/{page}.md").read_text(encoding="utf-8")
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", "").splitlines():
            yield shlex.split(line)


@dataclass
class RunbookShell:
    """`names` stands for what the page writes in capitals. `said` has what townctl printed, by its command.

    `programs` has what other commands than those of townctl and aws do, by their beginning.
    """

    home: Path
    capsys: pytest.CaptureFixture[str]
    names: dict[str, str]
    before: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    programs: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)

    def run(self, page: str, *, section: str = "") -> None:
        """Run every command. What `before` has for the beginning of a command happens before it."""
        for written in commands_of(page, section=section):
            for start, happens in self.before.items():
                if " ".join(written).startswith(start):
                    happens()
            words = [self._named(word) for word in written]
            self.ran.append(" ".join(written))
            own = next((program for start, program in self.programs.items() if self.ran[-1].startswith(start)), None)
            if own is not None:
                own()
            elif words[0] == "townctl":
                self._townctl(words[1:])
            else:
                assert words[0] == "aws", words
                self._aws(words[1], words[2], words[3:])

    def _named(self, word: str) -> str:
        for name, value in sorted(self.names.items(), key=lambda each: -len(each[0])):
            word = re.sub(rf"(?<![A-Z-]){re.escape(name)}(?![A-Z-])", value, word)
        return word

    def _townctl(self, words: list[str]) -> None:
        if words[0] == "doctor" and "--stack" in words:
            return  # tests/e2e calls it
        words, into = (words[:-2], words[-1]) if words[-2:-1] == [">"] else (words, "")
        self.capsys.readouterr()
        code = main.run(["--data", str(self.home / "data"), "--json", *words])
        shown = self.capsys.readouterr()
        assert code == 0, (words, shown.out[-2000:], shown.err[-2000:])
        said = json.loads(shown.out)
        if into:
            (self.home / into).write_text(shown.out, encoding="utf-8")
        self.said[words[2] if words[0].startswith("--") else words[0]] = said
        if said.get("points"):
            self.names["N"] = str(said["points"][0]["txid"])

    def _aws(self, service: str, operation: str, options: list[str]) -> None:
        if service == "s3":
            getattr(self, f"_s3_{operation}")(*options)
            return
        given = dict(zip(options[::2], options[1::2], strict=True))
        client = boto3.client("s3" if service == "s3api" else service)
        named = {self._pascal(name): self._value(value) for name, value in given.items()}
        getattr(client, operation.replace("-", "_"))(**named)

    def _pascal(self, option: str) -> str:
        return "".join(word.capitalize() for word in option.removeprefix("--").split("-"))

    def _value(self, text: str) -> Any:
        if text.startswith("file://"):
            return json.loads((self.home / text.removeprefix("file://")).read_text(encoding="utf-8"))
        if text.isdigit():
            return int(text)
        if re.fullmatch(r"\w+=[^,]+(,\w+=[^,]+)*", text):
            return dict(pair.split("=", 1) for pair in text.split(","))
        return text

    def _s3_mb(self, bucket: str) -> None:
        boto3.client("s3").create_bucket(Bucket=_place(bucket)[0])

    def _s3_rm(self, place: str, *options: str) -> None:
        bucket, key = _place(place)
        keys = list(_keys(bucket, key)) if options == ("--recursive",) else [key]
        for each in keys:
            boto3.client("s3").delete_object(Bucket=bucket, Key=each)

    def _s3_sync(self, old: str, new: str, *options: str) -> None:
        excluded = options[1::2]
        assert set(options[::2]) <= {"--exclude"}
        (source, _), (target, _) = _place(old), _place(new)
        for key in _keys(source, ""):
            if not any(fnmatchcase(key, pattern) for pattern in excluded):
                boto3.client("s3").copy_object(Bucket=target, Key=key, CopySource={"Bucket": source, "Key": key})


def _place(url: str) -> tuple[str, str]:
    found = _S3.fullmatch(url)
    assert found is not None, url
    return found[1], found[2]


def _keys(bucket: str, prefix: str) -> Iterator[str]:
    for page in boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (each["Key"] for each in page.get("Contents", ()))
