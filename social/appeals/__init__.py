"""Appeals: whoever a decision concerns contests it, and people who have no part in it decide.

    records       an appeal, a vote on it, who is willing to review
    reviewers     who enlists, and who is drawn
    submitting    appeals, what is said in them, escalation
    reviewing     reviewers vote
    closing       where an epoch begins: reviewers are drawn, votes counted, decisions reversed

An appeal costs nothing.  One against a decision of a community goes to drawn reviewers, and from there to the platform.
"""
