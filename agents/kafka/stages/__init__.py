"""What a task runs: the stages of the pipeline behind the processor interface."""
