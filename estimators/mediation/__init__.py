"""Effects that pass through a mediator."""
