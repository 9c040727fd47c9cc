"""Effects that pass through a mediator: docs/formulas/mediation.md."""
