"""As `python -m atlas_verify`, and the rows of bundles are computed again."""

import sys

from atlas_tables.tables import verify_tables
from atlas_verify.__main__ import main

if __name__ == "__main__":
    sys.exit(main(verify_tables))
