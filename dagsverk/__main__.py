"""`python -m dagsverk`: the same as the command `dagsverk`."""

from dagsverk.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
