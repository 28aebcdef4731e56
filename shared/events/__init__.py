"""What happened, in the past tense: one class per event, with its payload and what it does to a town.

Only events change a town from outside. They say which actions follow; they never act beyond the image.
"""
