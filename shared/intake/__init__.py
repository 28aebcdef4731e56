"""The way in for events: from bytes to validated envelopes that may be stored."""
