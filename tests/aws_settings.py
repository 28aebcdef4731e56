"""What the environment of a process says about AWS, for tests of how adapters find their service and credentials."""

from pathlib import Path
from typing import Final

import pytest

KEYS: Final = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
NO_FILES: Final = {"AWS_CONFIG_FILE": "/nowhere/config", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials"}


def of_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profile: str) -> None:
    """Leave this user no variables, and one profile."""
    for name in (*KEYS, "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(f"[profile work]\nregion = eu-west-1\n{profile}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "work")
