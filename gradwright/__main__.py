"""`python -m gradwright` is the command `gradwright`."""

from gradwright.cli import main

main()
