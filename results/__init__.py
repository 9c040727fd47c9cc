"""Records: the store of a study, its diagnosis, tables and reports."""
