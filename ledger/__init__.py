"""The replicated ledger: events, blocks, state and proofs.  Only `store.py` touches the disk."""
