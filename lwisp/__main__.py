"""`python -m lwisp` is the `lwisp` command."""

from lwisp.cli.commands import main

if __name__ == "__main__":
    main()
