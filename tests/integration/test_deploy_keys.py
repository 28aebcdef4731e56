"""`townctl secret set-deploy-key`: only what ssh can use is stored, and nothing of it is shown."""

import io
import json
import subprocess
from pathlib import Path

import pytest

from infra.townctl import main
from shared.adapters.deploy_keys import checked_hosts, checked_key
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.secret_files import SecretFiles
from shared.domain.errors import Terminal
from shared.ports.secrets import Secret
from tests.towns import a_town
from tests.worlds import a_world

NAME, HOSTS = "agents/towns/t1/rigs/rig-1/deploy-key", "agents/towns/t1/rigs/rig-1/known-hosts"
KINDS = [["-t", "ed25519"], ["-t", "ecdsa"], ["-t", "rsa", "-b", "2048"], ["-t", "rsa", "-b", "2048", "-m", "PEM"]]


def a_key(place: Path, *options: str, passphrase: str = "") -> str:
    """A private key that ssh-keygen makes; its public half lies beside it."""
    file = place / "key"
    file.unlink(missing_ok=True)
    words = options or ("-t", "ed25519")
    subprocess.run(
        ["ssh-keygen", "-q", *words, "-N", passphrase, "-f", str(file)], check=True, stdin=subprocess.DEVNULL
    )
    return file.read_text()


def a_hosts_line(place: Path) -> str:
    a_key(place)
    return "git.example.com " + " ".join((place / "key.pub").read_text().split()[:2])


class Townctl:
    """The command on a directory with a town whose rig has an ssh address."""

    def __init__(self, data: Path, patched: pytest.MonkeyPatch, shown: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self.shown = ""
        self._patched = patched
        self._captured = shown

    def __call__(self, *words: str, given: str = "") -> int:
        self._patched.setattr("sys.stdin", io.StringIO(given))
        code = main.run([*words, "--data", str(self.data)])
        out, err = self._captured.readouterr()
        self.shown = out + err
        return code

    def stored(self, name: str) -> str | None:
        found = SecretFiles(self.data / ".secrets").get(name)
        return None if found is None else found.reveal()

    def found(self) -> dict[str, str]:
        """The problems that the doctor finds, by their subjects."""
        self("doctor", "--json")
        return {each["subject"]: each["problem"] for each in json.loads(self.shown)["findings"]}


def served(place: Path, git_url: str) -> Path:
    data = place / "data"
    a_world(a_town("t1").update("rigs", "rig-1", git_url=git_url), objects=DirectoryObjects(data))
    return data


@pytest.fixture
def townctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Townctl:
    return Townctl(served(tmp_path, "git@git.example.com:acme/app.git"), monkeypatch, capsys)


def test_a_key_is_stored_listed_and_removed_and_never_shown(townctl: Townctl, tmp_path: Path) -> None:
    key, hosts = a_key(tmp_path), tmp_path / "hosts"
    hosts.write_text(a_hosts_line(tmp_path))
    seen = ""
    assert townctl("secret", "set-deploy-key", "t1", "rig-1", "--known-hosts", str(hosts), given=key) == 0
    seen += townctl.shown
    assert townctl.stored(NAME) == key.strip()
    assert townctl.stored(HOSTS) == hosts.read_text().strip()
    assert townctl("secret", "list") == 0
    seen += townctl.shown
    assert {NAME, HOSTS} <= set(townctl.shown.split())
    assert townctl("secret", "remove-deploy-key", "t1", "rig-1") == 0
    assert (townctl.stored(NAME), townctl.stored(HOSTS)) == (None, None)
    assert townctl("secret", "remove-deploy-key", "t1", "rig-1") == 1
    assert not any(line in seen + townctl.shown for line in key.splitlines()[1:-1])


def test_a_key_that_is_replaced_keeps_the_known_hosts(townctl: Townctl, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(a_hosts_line(tmp_path))
    townctl("secret", "set-deploy-key", "t1", "rig-1", "--known-hosts", str(hosts), given=a_key(tmp_path))
    newer = a_key(tmp_path)
    assert townctl("secret", "set-deploy-key", "t1", "rig-1", given=newer) == 0
    assert (townctl.stored(NAME), townctl.stored(HOSTS)) == (newer.strip(), hosts.read_text().strip())


@pytest.mark.parametrize("options", KINDS, ids="-".join)
def test_every_kind_of_key_that_ssh_keygen_makes_is_taken(tmp_path: Path, options: list[str]) -> None:
    key = a_key(tmp_path, *options)
    assert checked_key(key.replace("\n", "\r\n")).reveal() == key


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "does not contain a private key"),
        ("CANARY" * 9000, "does not contain a private key"),
        ("CANARY é", "does not contain a private key"),
        ("CANARY", "not a private key that can be read"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nCANARY\n-----END OPENSSH PRIVATE KEY-----\n", "that can be read"),
        ("-----BEGIN RSA PRIVATE KEY-----\nCANARY\n-----END RSA PRIVATE KEY-----\n", "that can be read"),
    ],
)
def test_what_is_no_key_is_not_stored_and_not_shown(townctl: Townctl, given: str, says: str) -> None:
    assert townctl("secret", "set-deploy-key", "t1", "rig-1", given=given) == 2
    assert says in townctl.shown
    assert "CANARY" not in townctl.shown
    assert townctl.stored(NAME) is None


@pytest.mark.parametrize("form", [[], ["-m", "PEM", "-t", "rsa", "-b", "2048"]])
def test_a_key_with_a_passphrase_is_refused(townctl: Townctl, tmp_path: Path, form: list[str]) -> None:
    locked = a_key(tmp_path, *form, passphrase="correct horse")
    assert townctl("secret", "set-deploy-key", "t1", "rig-1", given=locked) == 2
    assert "has a passphrase" in townctl.shown
    assert townctl.stored(NAME) is None


@pytest.mark.parametrize("hosts", ["", "# only a comment\n", "git.example.com\n", "git.example.com ssh-ed25519 AAAA\n"])
def test_what_names_no_key_of_a_host_is_not_stored(townctl: Townctl, tmp_path: Path, hosts: str) -> None:
    file = tmp_path / "hosts"
    file.write_text(hosts)
    assert townctl("secret", "set-deploy-key", "t1", "rig-1", "--known-hosts", str(file), given=a_key(tmp_path)) == 2
    assert "known hosts" in townctl.shown
    assert (townctl.stored(NAME), townctl.stored(HOSTS)) == (None, None)


def test_known_hosts_that_are_too_large_are_refused_and_not_cut(townctl: Townctl, tmp_path: Path) -> None:
    line, file = a_hosts_line(tmp_path) + "\n", tmp_path / "hosts"
    key, at_most = a_key(tmp_path), 32 << 10
    whole = line * (at_most // len(line))
    beginning = f"#{'x' * (at_most - len(whole) - 2)}\n{whole}"  # cut after this, only whole lines would be left
    file.write_text(beginning)
    assert townctl("secret", "set-deploy-key", "t1", "rig-1", "--known-hosts", str(file), given=key) == 0
    townctl("secret", "remove-deploy-key", "t1", "rig-1")
    file.write_text(beginning + line)
    assert townctl("secret", "set-deploy-key", "t1", "rig-1", "--known-hosts", str(file), given=key) == 2
    assert "--known-hosts: the content is larger than 32 KiB" in townctl.shown
    assert (townctl.stored(NAME), townctl.stored(HOSTS)) == (None, None)


def test_known_hosts_may_have_comments_several_names_and_authorities(tmp_path: Path) -> None:
    line = a_hosts_line(tmp_path)
    key = line.partition(" ")[2]
    text = f"# of the forge\n{line}\n\n@cert-authority *.example.com {key} of the company\na,b {key}\n"
    assert checked_hosts(text).reveal() == text
    with pytest.raises(Terminal, match="entry 2"):
        checked_hosts(f"{line}\n@cert-authority {key}\n")


def test_the_doctor_finds_a_key_that_cannot_be_used_and_says_nothing_of_one_that_can(
    townctl: Townctl, tmp_path: Path
) -> None:
    townctl("secret", "set-deploy-key", "t1", "rig-1", given=a_key(tmp_path))
    assert NAME not in townctl.found()
    kept = SecretFiles(townctl.data / ".secrets")
    kept.put(NAME, Secret("KEY-CANARY"))
    kept.put(HOSTS, Secret("HOSTS-CANARY"))
    found = townctl.found()
    assert "not a private key" in found[NAME]
    assert "no host and key in entry 1" in found[HOSTS]
    assert "CANARY" not in townctl.shown


@pytest.mark.parametrize("rig", ["rig-1", "gone"])
def test_the_doctor_finds_a_key_that_no_rig_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rig: str
) -> None:
    townctl = Townctl(served(tmp_path, "https://git.example.com/acme/app.git"), monkeypatch, capsys)
    assert townctl("secret", "set-deploy-key", "t1", rig, given=a_key(tmp_path)) == 0
    assert "no rig with an ssh address" in townctl.found()[f"agents/towns/t1/rigs/{rig}/deploy-key"]
