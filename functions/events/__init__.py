"""The events API: accepts facts from producers and write requests from operators."""
