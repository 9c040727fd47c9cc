"""`python -m experiments` is `panelproof`."""

from experiments.cli import main

if __name__ == "__main__":
    main()
