"""The state functions (spec/data-model.md section 3). Status, hook, assignee and counters change only through them."""
