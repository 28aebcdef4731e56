"""How much is tried: little in every run, ten times as much with `--hypothesis-profile=explore`."""

from hypothesis import Phase, settings


def examples(usual: int) -> settings:
    """The present profile with so many examples, or with ten times as many where it explores.

    A failing history is shrunk, but not explained: that would cost minutes and says little about a history.
    """
    profile = settings.default
    assert profile is not None
    return settings(profile, max_examples=usual * profile.max_examples // 100, phases=set(Phase) - {Phase.explain})
