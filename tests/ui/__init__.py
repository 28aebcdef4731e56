"""The page of `townctl ui` in a real browser. `make test-ui` runs these tests; they need Debian's chromium."""
