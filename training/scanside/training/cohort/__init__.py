"""A cohort on disk: patients, their images, lesion masks and diagnoses, and the check of all of it."""
