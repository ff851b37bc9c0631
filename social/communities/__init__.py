"""Communities: places with rules, members, moderators and a guard profile of their own.

    records       what the state keeps of one, and how it is read
    founding      how one is made, described, ruled, handed on and closed
    members       who joins, asks to join, is let in, leaves
    moderators    who is appointed and removed

A community's id is that of the event that created it; roles name it as their space.
"""
