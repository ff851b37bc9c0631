"""What people do: profiles, posts, reactions, follows.  Pure rules over the ledger's state."""
