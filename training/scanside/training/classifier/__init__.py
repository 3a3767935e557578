"""The classifier of a signature: compared, calibrated, bounded, exported.

sigmoid.py      Platt's calibration
bounds.py       threshold, conformal band, interval of the calibration, out-of-distribution distance
fit.py          nested comparison and the fitted classifier
step.py, cli.py `scanside train classifier`
"""
