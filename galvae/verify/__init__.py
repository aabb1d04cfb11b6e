"""What to ask of a run before believing its catalog."""
