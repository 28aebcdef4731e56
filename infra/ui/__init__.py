"""townctl ui: the towns as a page in the browser of this machine.

The page shows what the API answers, and computes nothing about a town: `infra.townctl.place` answers, here it is put into words
and drawn.

- `command` is the command, `pages` the site in a browser (NiceGUI carries it), `site` the page of each address, `acts` what buttons
  and forms do, `errors` the pages of errors, `shell` what is around every view.
- `views` has one module for each view, and for the parts that several views share.
- Logic without markup, which tests ask directly: `address`, `fleet`, `board`, `graph` (of a convoy), `tracks` (the timeline's
  lanes), `life` (a bead's story in chapters), `parted` (two histories side by side), `times`.
- `words` has every state, reason, event, action and effect in words, with its shape and tone; `sentences` and `names` make
  sentences with names instead of ids. `townctl watch` uses the same words.
- `markup` makes HTML that texts of others cannot break, `pieces` the small parts of every view; `assets` are style and script.
"""
