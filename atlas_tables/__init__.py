"""What the rows of ATLAS bundles say, checked by third parties: atlas_verify and this, nothing of the node, 200 lines.

    python -m atlas_tables FILE --genesis GENESIS [--csv FILE]

It does all that atlas_verify does, and then computes each row of a bundle again.  See docs/proofs.md.
"""
