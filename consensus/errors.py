"""The one error of consensus that somebody else causes."""


class InvalidMessage(ValueError):
    """A message that no correct replica sends.  `code` is for programs, `replica` the claimed sender if known."""

    def __init__(self, code: str, because: str, replica: int | None = None) -> None:
        super().__init__(f"{code}: {because}")
        self.code = code
        self.replica = replica
