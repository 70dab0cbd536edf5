"""Drive the pipeline in one process, over recorded logs, with durable state and no broker."""
