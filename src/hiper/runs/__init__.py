"""Runs: configuration, run folder, checkpoints, imitation, training, evaluation. `train.py` holds the main loop."""
