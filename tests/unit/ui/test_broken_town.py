"""What somebody sees on the page who looks for what broke a town: the change of a rig's own value of a setting."""

import re
from html import unescape

import pytest

from infra.ui.acts import GO_TO, WHAT_IF, Acts, Said
from infra.ui.address import address_of
from infra.ui.site import Site
from shared.domain.times import to_text
from tests.broken_towns import a_town_that_a_change_broke
from tests.sites import a_site, shown
from tests.towns import T
from tests.worlds import World

pytestmark = pytest.mark.slow

THE_CHANGE = "merge_strategy of rig r none -> pr, by ben"


@pytest.fixture(scope="module")
def world() -> World:
    return a_town_that_a_change_broke()


@pytest.fixture(scope="module")
def site(world: World, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return a_site(world, tmp_path_factory.mktemp("towns"))


def text_of(markup: str) -> str:
    """What a page says, without its markup."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup.replace("<wbr>", ""))).split())


def then(view: str = "machine") -> str:
    return f"/t/t1/{view}?at={to_text(T)}"


def asked(site: Site, what: str, **more: object) -> Said:
    return Acts(site, ()).done(address_of(then()), {"what": what, **more})


def test_the_timeline_has_a_line_for_each_change_also_of_a_rigs_own_value(site: Site) -> None:
    """The line of the change that broke the town was missing, and others said `2 × settings changed`."""
    page = shown(site, "/t/t1/timeline")
    marks = [unescape(each) for each in re.findall(r'class="upright-mark"[^>]*title="([^"]*)"', page)]
    assert marks == [THE_CHANGE, "notices.per_hour 20 -> 5, by anna"]
    assert page.count('<i class="upright"') == 2
    assert "merge_strategy of r none -&gt; pr</a>" in page
    assert "settings changed" not in page


def test_jumps_begin_with_the_changes_and_a_good_end_is_none(site: Site) -> None:
    """`crash of Mayor` stood for a process that had completed, before all changes."""
    jumps = text_of(shown(site, "/t/t1/machine").partition("Jump to before")[2].partition("slider-strip")[0])
    assert jumps.index(THE_CHANGE) < jumps.index("Toast: crashed (exit code 1)")
    assert "completed" not in jumps


def test_an_event_to_leave_out_says_what_it_changed_or_which_bead_it_filed(site: Site) -> None:
    """`A rig was registered`, `Settings were changed` and `A bead was filed` were to be chosen from."""
    form = text_of(shown(site, then()).partition("Leave out events")[2].partition("Add an event")[0])
    for said in (f"Changed: {THE_CHANGE}", "Changed: notices.per_hour 20 -> 5, by anna", "Hang the door was filed"):
        assert said in form
    assert "A bead was filed" not in form


def test_the_restore_panel_names_the_value_of_the_rig_that_goes_back(site: Site) -> None:
    """It named two innocent settings, and not the one that the command line named."""
    panel = text_of(shown(site, then()).partition("Restore to commit")[2].partition("Proof")[0])
    assert "Settings that go back: notices.per_hour 5 -> 20, merge_strategy of rig r pr -> none ." in panel
    assert "2 beads filed since then will be gone: Hang the door, Paint the door." in panel


def test_since_then_counts_the_beads_of_then_and_those_filed_since_apart(site: Site) -> None:
    """`2 failed, 1 filed` stood above `3 beads filed since then`."""
    assert "2 beads filed since: 1 failed, 1 waits" in text_of(shown(site, then()))


def test_the_row_of_a_setting_shows_the_value_of_a_rig_and_the_change_of_it(site: Site) -> None:
    """It said `direct`, which held nowhere, and no change."""
    row = shown(site, "/t/t1/settings").partition('data-key="merge_strategy"')[2].partition("</tr>")[0]
    assert "direct pr for r" in text_of(row)
    assert "of r, was none, by ben" in text_of(row)


def test_a_setting_is_opened_below_its_row_with_the_command_that_takes_the_change_back(site: Site) -> None:
    """It was opened above the table, out of sight; and a rig's value had no command."""
    page = shown(site, "/t/t1/settings?setting=merge_strategy")
    assert (
        page.index('data-key="merge_strategy"') < page.index('id="setting"') < page.index('data-key="notices.desktop"')
    )
    assert "townctl setting set t1 merge_strategy null --rig r" in page
    assert "pr in r, instead of the town" in page


def test_the_names_of_settings_break_between_their_words(site: Site) -> None:
    assert "hook_<wbr>limit_<wbr>hours</a>" in shown(site, "/t/t1/settings")


def test_a_process_that_has_completed_is_no_crash_in_the_life_of_its_bead(site: Site) -> None:
    page = text_of(shown(site, "/t/t1/bead/door"))
    assert "The process of Toast has ended: crashed (exit code 1)" in page
    assert "Attempt 1, Toast crashed" in page


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("soon", "“soon” is not a time, so nothing was changed. For example: 14:10, 20 min ago"),
        ("1999-01-01T00:00:00Z", "kept from"),
        ("2099-01-01T00:00:00Z", "in the future"),
    ],
)
def test_a_wrong_time_leaves_the_page_as_it_is_and_says_so_beside_the_field(site: Site, typed: str, says: str) -> None:
    """The page was replaced by an error, and the field was gone."""
    said = asked(site, "go_to", value=typed)
    assert (said.to, said.beside) == (None, GO_TO)
    assert says in said.text
    assert f'id="{GO_TO}"' in shown(site, then())


def test_a_time_that_was_typed_leads_there_and_none_to_the_present(site: Site) -> None:
    there, back = asked(site, "go_to", value="12:01"), asked(site, "go_to", value=" ")
    assert there.to is not None
    assert (there.to.href, there.text) == (f"/t/t1/machine?at={to_text(T.replace(minute=1))}".replace(":", "%3A"), "")
    assert back.to is not None
    assert back.to.href == "/t/t1/machine"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "Nothing was run: give a setting another value, leave out or add an event, or move the shift."),
        ({"setting": ["merge_strategy"]}, "Nothing was run: say what merge_strategy becomes"),
        ({"value": ["pr"]}, "Nothing was run: choose the setting that becomes pr."),
        ({"type": ["bead_created"], "payload": ["{"]}, "Nothing was run: the payload is not JSON"),
    ],
)
def test_a_what_if_that_asks_for_nothing_says_why_beside_its_button(
    site: Site, fields: dict[str, list[str]], says: str
) -> None:
    """`Change something first.` was shown for two seconds, at the other end of the page."""
    said = asked(site, "what_if", fields=fields)
    assert said.text.startswith(says)
    assert (said.to, said.beside) == (None, WHAT_IF)


def test_the_result_of_a_what_if_is_brought_into_sight_and_counts_the_ticks_of_both_histories(site: Site) -> None:
    """`136 of 50 ticks differ` was its title, and its bars had no legend."""
    said = asked(site, "what_if", fields={"leave": ["change-01"]})
    assert said.to is not None
    assert said.reveal == "result"
    page = str(site.page(said.to))
    [(parted, every)] = re.findall(r": (\d+) of (\d+) ticks?[^<]* differ<", page)
    assert 0 < int(parted) <= int(every)
    legend = text_of(page.partition("pair-legend")[2].partition("</div>")[0])
    assert "not known: so it would be if nobody had answered" in legend
    assert "in progress" in legend
    assert "first parting" in legend


SINCE = "Changed since the last bead of its rig was done: merge_strategy of rig r none -> pr, by ben , tick 2"


def test_the_board_connects_the_failure_with_the_change_and_says_what_helps_first(site: Site) -> None:
    """The card of the failed bead was cut in the middle of its error, and ended with `You: reopen it`."""
    page = text_of(shown(site, "/t/t1").partition('data-key="door"')[2].partition("</article>")[0])
    assert SINCE in page
    assert "Reopened, it fails again unless this is mended: its last start crashed (exit code 1)" in page
    assert page.index("You: take back merge_strategy of rig r") < page.index("You: reopen it")


def test_what_waits_for_a_failed_bead_says_on_the_board_that_it_fails_again(site: Site) -> None:
    page = text_of(shown(site, "/t/t1").partition('data-key="behind-door"')[2].partition("</article>")[0])
    assert SINCE in page
    assert page.index("You: take back merge_strategy of rig r") < page.index("You: reopen Hang the door")


@pytest.mark.parametrize("bead", ["door", "paint"])
def test_the_page_of_a_bead_copies_the_command_that_takes_the_change_back_first(site: Site, bead: str) -> None:
    """The page of the bead that waits never said that the other one fails again, and its button copied only the reopening."""
    card = shown(site, f"/t/t1/bead/{bead}").partition("why-card")[2].partition("</section>")[0]
    commands = [unescape(each) for each in re.findall(r'data-copy="([^"]*)"', card)]
    assert commands[:2] == ["townctl setting set t1 merge_strategy null --rig r", "townctl bead reopen t1 door"]
    assert SINCE in text_of(card)
    assert "fails again unless this is mended" in text_of(card)
