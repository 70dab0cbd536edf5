"""The re-keying step in front of stage 1 (`kafka.rekey`)."""
