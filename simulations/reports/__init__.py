"""Reports: a run as text or as a picture, for people; both are made from observations alone."""
