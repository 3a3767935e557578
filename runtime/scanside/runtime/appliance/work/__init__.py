"""The worker: takes a job, computes it as `scanside run` does, writes the result, and says what is to be sent."""
