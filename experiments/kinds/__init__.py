"""What the project holds, by kind: read from the classes and docstrings themselves."""
