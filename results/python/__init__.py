"""What users of Python hold: a diagnosis and tables that answer, each a record with thin methods."""
