"""nnunetv2 and scanside side by side: speed, memory and labels, with the machine they were measured on."""
