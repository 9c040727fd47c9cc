"""Schemes: ways to assign the treatment, the weights or a mediator again."""

from sim.schemes.schemes import FORMS, Blocks, Mediator, Relabel, Scheme, Time, scheme_of

__all__ = ["FORMS", "Blocks", "Mediator", "Relabel", "Scheme", "Time", "scheme_of"]
