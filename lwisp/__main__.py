"""`python -m lwisp` is the `lwisp` command."""

from lwisp.cli import main

if __name__ == "__main__":
    main()
