"""Parts of a `panel` design, one package a slot, one file a kind."""
