"""Whole networks in one thread and virtual time, from one seed."""
