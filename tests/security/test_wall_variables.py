"""What a request to a control server may set in the environment of an agent, and from where its git may fetch."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.agents.control_server.requests import wrong_address
from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.variables import named_variables, values_of, wrong_in_configuration, wrong_in_start

RUN_PROGRAMS: Final = """
    PATH HOME SHELL ENV BASH_ENV BASH_FUNC_id%% PROMPT_COMMAND PS4 IFS NODE_OPTIONS NODE_PATH PYTHONPATH PYTHONSTARTUP PYTHONHOME
    PYTHONINSPECT PERL5OPT PERL5LIB RUBYOPT RUBYLIB JAVA_TOOL_OPTIONS _JAVA_OPTIONS LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT
    DYLD_INSERT_LIBRARIES GIT_SSH_COMMAND GIT_SSH GIT_EXEC_PATH GIT_CONFIG_COUNT GIT_CONFIG_GLOBAL GIT_ASKPASS GIT_EDITOR GIT_PAGER
    GIT_EXTERNAL_DIFF GIT_PROXY_COMMAND GIT_ALLOW_PROTOCOL GIT_TEMPLATE_DIR SSH_ASKPASS SSH_AUTH_SOCK PAGER LESSOPEN EDITOR VISUAL
    BROWSER MANPAGER LOCPATH NLSPATH TERMINFO GCONV_PATH TMPDIR TZ HTTPS_PROXY https_proxy SSL_CERT_FILE NODE_EXTRA_CA_CERTS
    CURL_CA_BUNDLE REQUESTS_CA_BUNDLE AWS_CONFIG_FILE AWS_ACCESS_KEY_ID PIP_INDEX_URL npm_config_registry CARGO_HOME GOPROXY
    MAKEFLAGS XDG_CONFIG_HOME DOCKER_HOST KUBECONFIG MALLOC_CONF GLIBC_TUNABLES TOWN_CONTROL_KEY TOWN_AGENT_CONTEXT TOWN_AGENT_HOME
    TOWN_TOKEN_FILE TOWN_AGENT_POST TOWNCTL_DATA TOWN_AGENT_ENV TOWN_AGENT_COMMAND TOWN_CONTAINER_TOKEN
"""
SENT = {"TOWN_TOKEN": "t", "TOWN_API": "https://api.example.com", "TOWN_AGENT_GENERATION": "3"}


@pytest.mark.parametrize("name", [*RUN_PROGRAMS.split(), "", "A=B", "A\nB", "lang", " LANG", "LANG ", "ＰＡＴＨ"])
def test_a_variable_that_nobody_allowed_is_refused_and_its_value_is_not_shown(name: str) -> None:
    for wrong in (wrong_in_start, wrong_in_configuration):
        said = wrong({name: "$(touch sesame)"}, named=frozenset())
        assert said is not None
        assert "may not set" in said
        assert "sesame" not in said
        assert "\n" not in said


@given(st.text(max_size=40))
def test_no_name_is_allowed_but_those_on_the_list(name: str) -> None:
    allowed = {*SENT, "TOWN_AGENT_ORDER", "LANG", "LANGUAGE"}
    if name not in allowed and not name.startswith("LC_"):
        assert wrong_in_start({name: "x"}, named=frozenset()) is not None


def test_what_the_town_sends_and_a_language_are_allowed() -> None:
    assert wrong_in_start({**SENT, "LANG": "de_DE.UTF-8", "LC_ALL": "C"}, named=frozenset()) is None
    assert wrong_in_configuration({"LANGUAGE": "en:de"}, named=frozenset()) is None


@pytest.mark.parametrize("value", ["../../tmp/evil", "/tmp/evil", "a\0b", "x" * 1000, "$(id)"])
def test_a_language_is_no_path(value: str) -> None:
    assert wrong_in_start({"LANGUAGE": value}, named=frozenset()) is not None


def test_the_token_of_one_agent_is_not_a_variable_of_all() -> None:
    for name, value in SENT.items():
        assert wrong_in_configuration({name: value}, named=frozenset()) is not None


def test_the_operator_names_more_and_the_values_come_from_the_environment_of_the_server() -> None:
    settings = ControlServerSettings.from_environment(
        {
            "TOWN_ID": "t1",
            "TOWN_AGENT_COMMAND": "true",
            "TOWN_AGENT_ENV": "MODEL_KEY, NODE_OPTIONS,,",
            "MODEL_KEY": "k",
            "OTHER": "o",
        }
    )
    assert settings.named == {"MODEL_KEY", "NODE_OPTIONS"}
    assert settings.environment == {"MODEL_KEY": "k"}
    assert wrong_in_start({"NODE_OPTIONS": "--max-old-space-size=1", **SENT}, named=settings.named) is None
    assert wrong_in_start({"OTHER": "o"}, named=settings.named) is not None


@pytest.mark.parametrize("name", ["TOWN_CONTROL_KEY", "TOWN_TOKEN_FILE", "TOWNCTL_DATA", "A=B", "1A", "A B", "LD_*"])
def test_the_operator_can_name_neither_a_variable_of_the_town_nor_something_that_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="variable"):
        named_variables([name])
    with pytest.raises(ValueError, match="TOWN_AGENT_ENV"):
        ControlServerSettings.from_environment({"TOWN_ID": "t1", "TOWN_AGENT_COMMAND": "true", "TOWN_AGENT_ENV": name})


def test_a_named_variable_that_is_not_set_is_not_passed_on() -> None:
    assert values_of({"A", "B"}, {"B": "", "C": "c"}) == {"B": ""}


@pytest.mark.parametrize(
    "address",
    [
        "fd::3",
        "fd::3,4",
        "ext::sh -c id",
        "https::fd",
        "file::/etc",
        "h::3",
        "http://git.example.com/a/b",
        "git://git.example.com/a/b",
        "ftp://git.example.com/a/b",
        "-oProxyCommand=id",
        "--upload-pack=id",
        "ssh://-oProxyCommand=id/a",
        "ssh://-oProxyCommand=id@h/a",
        "-oProxyCommand=id@h:a",
        "git@-h:a",
        "git@h:-a",
        "ssh://git@h",
        "https://h",
        "https://h/a?b",
        "https://h/a#b",
        "https://good.example.com\\@evil.example.com/a",
        "a",
        ".",
        "./a",
        "../a",
        "a b",
        "C:\\a",
        "https://h/a\nb",
        " https://h/a",
        "https://h/ä",
        "a\0b",
        "/srv/a.git",
        "file:///srv/a.git",
        "bundle.file",
    ],
)
def test_git_fetches_from_nothing_but_https_and_ssh(address: str) -> None:
    assert wrong_address(address, local=False) is not None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "https://git.example.com/acme/work.git",
        "HTTPS://git.example.com/work",
        "https://git.example.com:8443/group/sub/work.git",
        "ssh://git@git.example.com:2222/acme/work.git",
        "ssh://[::1]/work",
        "git@git.example.com:acme/work.git",
        "git.example.com:~acme/work.git",
    ],
)
def test_honest_addresses_are_fetched_from(address: str) -> None:
    assert wrong_address(address, local=False) is None


def test_the_operator_allows_repositories_on_this_machine() -> None:
    for address in ("/srv/a.git", "file:///srv/a.git"):
        assert wrong_address(address, local=True) is None
    assert wrong_address("fd::3", local=True) is not None
