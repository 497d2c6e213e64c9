"""What is kept on disks: checkpoints, portable tickets, run directories, the journal of a run."""
