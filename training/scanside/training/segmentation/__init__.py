"""`scanside train segment`: nnU-Net v2 driven through its own API, from a cohort to a bundle and its masks."""
