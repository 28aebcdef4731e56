"""Which verdicts stand when a run is continued, and which tests are tried first."""

from pathlib import Path

from tests.mutants.catalogue import Edit, Mutant, Place
from tests.mutants.reach import Reach, text_of
from tests.mutants.running import Verdict
from tests.mutants.verdicts import Verdicts

CODE = "shared/rules/beads.py"
TESTS = "tests/scenarios/test_tick.py", "tests/scenarios/test_mail.py", "tests/scenarios/test_claims.py"


def a_mutant(line: int) -> Mutant:
    edit = Edit("If", (line, 0, line, 0), "never")
    return Mutant("guard", CODE, "a_rule", line, f"if {line}", "if False", edit, (Place(CODE, "a_rule", line, line),))


def a_reach(*tests: str) -> Reach:
    """Tests that come to lines 1 and 2, the first the quickest."""
    reach = Reach()
    for number, test in enumerate(tests):
        came = {CODE: {"text": text_of(CODE), "functions": {"a_rule": [1, 2]}}}
        reach.add({"test": f"{test}::test", "seconds": number, "failed": False, "came": came})
    return reach


def killed_by(test: str) -> Verdict:
    return Verdict(0, f"{test}::test", tests=1, chosen=3, seconds=0.1)


SURVIVED = Verdict(0, None, tests=3, chosen=3, seconds=0.1)


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    reach, file = a_reach(*TESTS), tmp_path / "verdicts"
    verdicts = Verdicts(reach, file)
    verdicts.write(a_mutant(1), killed_by(TESTS[0]))
    verdicts.write(a_mutant(2), SURVIVED)
    continued = Verdicts(reach, file)
    assert [continued.stands(a_mutant(line)) for line in (1, 2, 3)] == [True, True, False]
    assert [continued.killer(a_mutant(line)) for line in (1, 2)] == [f"{TESTS[0]}::test", None]


def test_a_verdict_falls_with_the_text_that_it_rests_on(tmp_path: Path) -> None:
    reach, file = a_reach(*TESTS), tmp_path / "verdicts"
    for text in (text_of(CODE), text_of(TESTS[0])):
        file.unlink(missing_ok=True)
        Verdicts(reach, file).write(a_mutant(1), killed_by(TESTS[0]))
        file.write_text(file.read_text().replace(text, "another text"))
        assert not Verdicts(reach, file).stands(a_mutant(1))


def test_a_survivor_is_judged_again_when_another_test_comes_there(tmp_path: Path) -> None:
    file = tmp_path / "verdicts"
    Verdicts(a_reach(*TESTS[:2]), file).write(a_mutant(1), SURVIVED)
    assert not Verdicts(a_reach(*TESTS), file).stands(a_mutant(1))


def test_a_mutant_with_tests_left_to_try_is_not_judged(tmp_path: Path) -> None:
    verdicts = Verdicts(a_reach(*TESTS), tmp_path / "verdicts")
    verdicts.write(a_mutant(1), Verdict(0, None, tests=2, chosen=3, seconds=60))
    assert not verdicts.judged(a_mutant(1))


def test_the_test_that_killed_a_neighbour_is_tried_first_then_the_quick_ones(tmp_path: Path) -> None:
    verdicts = Verdicts(a_reach(*TESTS), tmp_path / "verdicts")
    names = [f"{test}::test" for test in TESTS]
    assert verdicts.choose(a_mutant(1), names) == names
    verdicts.write(a_mutant(2), killed_by(TESTS[2]))
    assert verdicts.choose(a_mutant(1), names) == [names[2], names[0], names[1]]


def test_a_test_in_an_older_text_of_the_code_is_found_by_its_function() -> None:
    reach = Reach()
    came = {CODE: {"text": "older", "functions": {"a_rule": [7]}}}
    reach.add({"test": f"{TESTS[0]}::test", "seconds": 0, "failed": False, "came": came})
    assert reach.reaching(a_mutant(1)) == {f"{TESTS[0]}::test"}
