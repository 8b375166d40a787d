"""The files that ship inside the package; `training/digits.py` reads them, nothing runs here."""
