"""Pictures of a diagnosis: records made by pure functions, and the two programs that draw every record alike."""
