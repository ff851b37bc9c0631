"""What can go wrong with a peer: it broke a rule (PeerFault), or it is not there (PeerUnreachable)."""


class PeerFault(Exception):
    """A peer did what no honest peer does.  Caught where the peer's connection is served.

    code: stable, for programs.  penalty: points that count towards a ban.  detail: what was expected and what came.
    """

    def __init__(self, code: str, penalty: int, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.penalty = penalty
        self.detail = detail


class PeerUnreachable(Exception):
    """A peer cannot be reached, has gone, or is too busy to answer.  Retried by whoever needs the peer."""


class PortInUse(Exception):
    """Our own listening address is taken; the configuration names another process's port."""
