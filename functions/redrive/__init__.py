"""Posts a copy of a poisoned event for an operator, and the acknowledgement of an escalation for whoever has its link."""
