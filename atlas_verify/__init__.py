"""A verifier of ATLAS proof files for third parties: Python and pynacl, nothing of the node, under 400 lines.

    python -m atlas_verify FILE --genesis GENESIS

It reads two files and nothing else.  The formats, and what each check shows, are in docs/proofs.md.
"""
