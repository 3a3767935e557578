"""Import this before nnunetv2: one thread for PyTorch, whose threads spin for each other on a busy machine."""

import os

os.environ.setdefault("nnUNet_def_n_proc", "1")

import torch

torch.set_num_threads(1)
