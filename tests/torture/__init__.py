"""The long versions of the tests: each file runs by itself and prints a Markdown table."""
