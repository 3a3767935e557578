"""The evaluation of an experiment: masks against the reference standard, probabilities against diagnoses."""
