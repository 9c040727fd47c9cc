"""The printed-table oracle: records with distinct known numbers, what tables must print of them, and parsers."""
