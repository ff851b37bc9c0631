"""The node: the only package that knows all parts, and puts them together."""
