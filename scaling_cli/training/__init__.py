"""Training curves: schedules, the laws of a curve fitted over steps, and what a run will reach."""
