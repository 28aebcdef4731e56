"""The wall around drivers: what a program prints was written by strangers, and by the servers of models.

It may print without end, lie in its events, leave processes behind, and show every key that it was given. Its driver must stay
small, must come to an end, and must show no key to the town or to readers of logs.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from infra.agents.drivers.child import Child
from infra.agents.drivers.contract import Span, Start, Used
from infra.agents.drivers.failures import failure_of
from infra.agents.drivers.pulse import Pulse
from infra.agents.drivers.readings import about, micros, number, one_line
from infra.agents.drivers.scrubbing import Scrubber, secrets_in
from infra.agents.drivers.transcript import TRANSCRIPT, Transcript
from infra.agents.drivers.usage import Meter
from shared.adapters.clock import SystemClock, wait_for
from shared.domain import limits
from shared.domain.usage import MOST
from tests.integration.scripted_program import DONE, OVER, SESSION, fails, says
from tests.integration.test_driver_sessions import SECRET, Agent
from tests.patience import PATIENCE_SECONDS
from tests.unit.agents.test_driver_pulse import Running

TOKEN = "ghs_" + "0aB1cD2eF3" * 4
_FLOOD = """
import sys, time
sys.path[:0] = [{root!r}]
from infra.agents.drivers.child import Child
from infra.agents.drivers.contract import Start
child = Child(Start((sys.executable, "-c", {program!r}), ""), {{}})
last, since = -1, time.monotonic()
while time.monotonic() - since < 5:
    if child._lines.qsize() != last:
        last, since = child._lines.qsize(), time.monotonic()
    time.sleep(0.05)
child.end()
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(int(peak.split()[1]) // 1024)
"""
_PROGRAM = "import os\nfor _ in range(300): os.write({to}, b'x' * (4 * 1024 * 1024 - 10) + b'\\n')"
_ENDLESS = "import os\nif os.fork() == 0:\n    os.setsid()\n    while os.write(1, b'{}\\n' * 1000): pass"


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


@pytest.mark.parametrize("to", [1, 2])
def test_a_program_that_prints_faster_than_it_is_read_takes_little_memory(to: int) -> None:
    root, program = str(Path(__file__).parents[2]), _PROGRAM.format(to=to)
    done = subprocess.run(
        [sys.executable, "-c", _FLOOD.format(root=root, program=program)], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 256


def test_what_a_program_left_running_cannot_keep_its_turn_from_ending() -> None:
    child = Child(Start((sys.executable, "-c", _ENDLESS), ""), dict(os.environ))
    heard = 0

    def has_ended() -> bool:
        nonlocal heard
        heard += child.line(seconds=0.1) is not None
        return child.has_ended

    try:
        assert wait_for(has_ended, seconds=PATIENCE_SECONDS)
        assert heard > 0
    finally:
        child.end()  # nobody reads any more, so what was left running ends at its next line


def test_no_key_of_the_agent_reaches_the_town_the_desk_or_the_log(agent: Agent) -> None:
    told = f"I use {SECRET} and {TOKEN}"
    steps = [
        SESSION,
        says(told),
        {"event": {"began": f"curl -H x:{SECRET} -H y:{TOKEN} https://example.com"}},
        {"event": {"ended": told}},
        {"error": told},
        fails(f"the key {SECRET} {TOKEN} is wrong", status=401),
    ]
    assert agent.run(steps) == 1
    kept = [path.read_text(errors="replace") for path in agent.desk.rglob("*") if path.is_file()]
    shown = "\n".join([agent.out.getvalue(), json.dumps(agent.posted.events), *kept])
    assert "refuses the one that is set" in agent.reason
    assert agent.posted.of("agent_status"), "the line of status was posted"
    assert SECRET not in shown
    assert TOKEN not in shown


def test_the_last_words_of_an_agent_without_a_report_show_no_key(agent: Agent) -> None:
    assert agent.run([SESSION, says(f"my key is {SECRET}"), OVER]) == 1
    assert "my key is [removed]" in agent.reason


def test_a_key_is_found_although_invisible_characters_stand_in_it(tmp_path: Path) -> None:
    for hidden in ("\u200b", "\x00", "\u2060", "\x1b"):
        shown = Scrubber([SECRET])(f"it is {SECRET[:5]}{hidden}{SECRET[5:]}", most=100)
        assert shown == "it is [removed]", repr(hidden)


@pytest.mark.parametrize("secret", [SECRET, TOKEN])
@pytest.mark.parametrize("most", range(101, 145))
def test_a_key_that_is_cut_in_two_is_left_out(secret: str, most: int) -> None:
    scrub, after = Scrubber([SECRET]), f" {secret} " + "y " * 300
    assert secret[:8] not in scrub("x" * 99 + after, most=most)
    assert secret[:8] not in scrub(one_line("x" * (400 - most) + after), most=1000)
    assert secret[:8] not in scrub(failure_of("x" * (600 - most) + after).said, most=1000)


@pytest.mark.parametrize("name", ["MY_API_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "MYSQL_PWD", "NPM_CONFIG__AUTH"])
@pytest.mark.parametrize("value", ["/wJalr+a/secret/of/aws", "plain-words-only", "//x\x00//////"])
def test_a_variable_whose_name_says_that_it_is_secret_is_one_also_if_it_begins_like_a_path(
    name: str, value: str
) -> None:
    assert secrets_in({name: value}) == [value]
    assert secrets_in({f"{name}_FILE": __file__, "HOME": value}) == []


def test_a_pipe_in_place_of_the_transcript_does_not_stop_the_driver(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / TRANSCRIPT)
    transcript = Transcript(tmp_path, SystemClock(), Scrubber(), out=StringIO())

    def talk() -> None:
        for _ in range(50):
            transcript.said("word " * 1000)

    writer = threading.Thread(target=talk, daemon=True)
    writer.start()
    writer.join(timeout=PATIENCE_SECONDS)
    assert not writer.is_alive()


def test_a_link_in_place_of_the_transcript_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "of another").write_text("theirs")
    (tmp_path / TRANSCRIPT).symlink_to(tmp_path / "of another")
    Transcript(tmp_path, SystemClock(), Scrubber(), out=StringIO()).said("mine")
    assert (tmp_path / "of another").read_text() == "theirs"


LIES = [-1, MOST + 1, 10**400, float("nan"), float("inf"), -float("inf"), "7", True, None, [], {}]


@pytest.mark.parametrize("lie", LIES, ids=[repr(each)[:20] for each in LIES])
def test_a_count_that_is_none_counts_nothing(lie: object) -> None:
    assert number(lie) == 0
    assert micros(lie) is None


def test_counts_that_add_up_to_more_than_the_town_counts_are_still_reported() -> None:
    meter = Meter()
    for _ in range(3):
        meter.count(Used(number(MOST), number(MOST), number(MOST), micros(MOST)), model="m")
    used = meter.totals()["m"]
    assert {used.input_tokens, used.output_tokens, used.cached_tokens, used.cost_micros} == {MOST}


@pytest.mark.parametrize("span", list(Span))
def test_a_server_that_names_a_new_model_in_each_answer_fills_no_memory(span: Span) -> None:
    meter = Meter()
    for count in range(10 * limits.MODELS_PER_GENERATION):
        meter.count(Used(1, 1, 1, of=span), model=f"m{count}")
    assert len(meter.totals()) == limits.MODELS_PER_GENERATION


def _pieces_of(pulse: Pulse) -> Iterator[str]:
    activity = pulse.activity()
    yield from (activity.kind, *activity.tools)


def test_names_of_tools_and_events_stay_short_however_many_there_are(tmp_path: Path) -> None:
    running = Running(tmp_path)
    for count in range(1000):
        running.pulse.tool_began(f"{count}" * 1000, f"tool{count} " + "x" * 10_000)
    running.pulse.happened("kind " + "y" * 10_000)
    assert sum(map(len, _pieces_of(running.pulse))) < 101 * 101


@pytest.mark.parametrize(
    "text", ["a " * (2 << 20), "x" * (4 << 20), "\x00" * (1 << 20), '"' * (1 << 20), "\u200d" * (1 << 20)]
)
def test_a_huge_text_is_shortened_before_it_is_looked_at(text: str) -> None:
    assert len(Scrubber([SECRET])(text, most=2000)) <= 2000
    assert len(one_line(text)) < 500
    assert len(about({"command": text})) < 500
    assert len(failure_of(text).said) <= 500


def test_hostile_lines_end_no_session(agent: Agent) -> None:
    hostile = [
        "[" * 100_000,
        '{"text": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"text": NaN, "used": -1}',
        '{"text": "\\ud800"}',
        '{"text": "\x1b]0;title\x07\x1b[2J"}',
        "\x00" * 1000,
        '{"text": 1e999999}',
        "{" + ",".join(f'"k{n}": {{}}' for n in range(20_000)) + "}",
    ]
    assert agent.run([SESSION, *({"raw": line} for line in hostile), DONE, OVER]) == 0
    written = agent.out.getvalue() + (agent.desk / TRANSCRIPT).read_text(encoding="utf-8")
    assert "\x1b" not in written
    assert "\x00" not in written
