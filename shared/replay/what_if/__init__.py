"""What-if: runs the recorded ticks of a window a second time with something changed, side by side with history."""
