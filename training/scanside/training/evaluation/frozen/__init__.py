"""A frozen bundle judged on patients that it was not made from.

results.py   result.json of a study, read: of `scanside run`, of the appliance, or made here
run.py       a cohort through the bundle, by the real runtime
truth.py     pathology and readers' decisions, joined by case
predictions.py results → what each model of the bundle says, and where it measured
drift.py     features against the training ranges
centres.py   per centre; readers' decisions against pathology
step.py      all of it, in order
"""
