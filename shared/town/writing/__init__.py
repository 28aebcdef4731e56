"""The state functions (spec/data-model.md section 3): the only code that changes status, hook, assignee and attempts."""
