"""Governance: how a policy is changed.

    DRAFT      its values are on the ledger, under their content address
    SIMULATED  more than f validators have signed the same impact report of a dry run
    VOTING     proposed: with that report, a deposit, and a version to return to
    QUEUED     passed; comes into force at the first epoch that begins after the delay
    ACTIVE     in force; then SUPERSEDED by a later version, or ROLLED_BACK
    REJECTED, EXPIRED, CANCELLED   the other ends

Beside policies it grants and revokes roles and takes nodes out of service (`measures`), with the same votes.

Files: `drafts`, `reports`, `proposals`, `measures` and `votes` are what accounts sign, `close` what an epoch's close
derives from it, `tally` the arithmetic, `explain` the values that an old receipt was judged by.
"""
