"""What thresholds can be chosen for, one file each."""
