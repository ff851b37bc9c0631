"""PBFT (Castro & Liskov, with signatures) as a pure state machine: `Replica.step(input) -> effects`.

No clock, socket, disk or random source inside: the same inputs always give the same effects.
"""
