"""The radiomics signature: features of automatic masks → the few that go into the classifier, honestly estimated.

extract.py, perturb.py   features of every patient, and of perturbed masks and images
tables.py, store.py      features from somewhere else; features.csv and patients.csv
cases.py                 patients as one structured array, so that a fold sees only its own patients
filters.py, icc.py,      the steps of the pipeline: absent, constant, unstable, redundant, mRMR or LASSO, ComBat
mrmr.py, combat.py
pipeline.py              one scikit-learn Pipeline of all of them
nested.py, auc.py        nested, patient-level, stratified, repeated cross-validation
canaries.py              permuted labels and noise features must give AUC 0.5
step.py, cli.py          `scanside train signature`
"""
