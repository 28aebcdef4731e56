"""What if: the recorded ticks of a window are run a second time with something changed, side by side with history."""
