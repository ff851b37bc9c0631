"""What a correct replica takes from others was signed by its sender, for this chain and as this kind of message.

What correct replicas send is verified in full by `certificates`; here is what liars send, by the same second verifier.
"""

from collections.abc import Collection, Sequence

from simulations.checkers.certificates import ProofInvalid, Verifier
from simulations.observations import CheckFailed, Delivered, Observation


class Admission:
    """Remembers nothing but what the verifier does."""

    name = "admission"

    def __init__(self, chain_id: bytes, keys: Sequence[bytes], correct: Collection[int]) -> None:
        self._correct = frozenset(correct)
        self._verifier = Verifier(chain_id, keys)

    def observe(self, observation: Observation) -> None:
        if not isinstance(observation, Delivered) or observation.to not in self._correct:
            return
        if observation.source in self._correct:
            return
        try:
            self._verifier.verify_signature_of(observation.signed)
        except ProofInvalid as invalid:
            what = f"replica {observation.to} to take only what its sender signed"
            raise CheckFailed(self.name, what, str(invalid)) from invalid

    def finish(self) -> None:
        """Nothing is owed at the end."""
