"""Files of strangers, read in a process that can reach nothing else."""
