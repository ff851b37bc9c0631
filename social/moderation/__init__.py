"""Moderation: what moderators decide about posts and accounts, why, and what becomes of it.

    rules         which rules a decision can name
    records       decisions, cases and the record of each moderator, as the state keeps them
    reports       posts are reported, and reports answered
    effects       what a decision does, and what takes it back
    decisions     hide, take down, lock, warn, suspend
    lifting       restore, unlock, reinstate
    finality      a decision that nobody contests becomes final

Every decision is a statement of reasons on the ledger, and can be appealed (`social.appeals`).
"""
