"""The archive: segments, each one file that holds a range of whole epochs and can be checked without the chain.

Nothing here touches a disk: bytes come from a function, and go out as an iterator.  `docs/archive.md` is the format.
"""
