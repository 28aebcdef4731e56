"""What the code says about itself, for people: every event type and every setting, for `townctl` and for two pages of docs.

Names, types, senders, defaults and places come from the classes and the sources. Only the meaning of a field or a setting is
written here, in `event_words` and `setting_words`, and tests fail if one is missing or belongs to nothing.
`python -m infra.reference.pages` writes `docs/events.md` and `docs/settings.md` (`make reference`).
"""
