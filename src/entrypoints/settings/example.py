"""Writes the text of `.env.example` to standard output."""

import sys

from entrypoints.settings.listing import example

if __name__ == "__main__":
    sys.stdout.write(example())
