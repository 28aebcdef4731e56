"""What if: the recorded ticks of a window run a second time with something changed, beside history."""
