"""The bytes and numbers on which two nodes must agree: encoding, hashing, signatures, ids, trees.

Imports nothing of ours.
"""
