"""Guards shared by several event types, and the catalogue of all guards.  Pure functions: (view, entry) -> Verdict."""
