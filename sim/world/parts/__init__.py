"""The parts of a panel design, a file a slot; a part that is added may stand in a file of its own here."""
