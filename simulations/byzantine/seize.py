"""The usurper: begins views whose primary it is not.  Correct replicas refuse its NEW-VIEW."""

from dataclasses import replace

from consensus.messages import Cited, NewView, PrePrepare, Reproposal, Sign, Signed, ViewChange, holds
from consensus.new_view import compute_plan
from simulations.byzantine.resign import Signer
from simulations.observations import Delivered, Observation, Sent


class SeizeView:
    """Sends NEW-VIEW as soon as enough VIEW-CHANGEs for a view came; `observe` must be told what is delivered."""

    def __init__(self, me: int, sign: Sign, quorum: int) -> None:
        self._signer, self._quorum = Signer(me, sign), quorum
        self._view_changes: dict[int, Signed[ViewChange]] = {}  # the latest of each replica
        self._seized: Signed[NewView] | None = None

    def observe(self, observation: Observation) -> None:
        """Note the VIEW-CHANGEs that reach this replica."""
        if isinstance(observation, Delivered) and observation.to == self._signer.me:
            signed = observation.signed
            if holds(signed, ViewChange):
                self._view_changes[signed.message.replica] = signed

    def __call__(self, sent: Sent) -> list[Sent]:
        signed = sent.signed
        if holds(signed, ViewChange) and self._signer.is_own(signed):
            self._view_changes[signed.message.replica] = signed
        new_view = self._seize()
        return [sent] if new_view is None else [sent, replace(sent, signed=new_view, batch=None)]

    def _seize(self) -> Signed[NewView] | None:
        """Return NEW-VIEW for the highest view that enough left for; the same one again while there is no higher."""
        for view in sorted({signed.message.view for signed in self._view_changes.values()}, reverse=True):
            if self._seized is not None and view <= self._seized.message.view:
                break
            ordered = [self._view_changes[replica] for replica in sorted(self._view_changes)]
            cited = [signed for signed in ordered if signed.message.view == view][: self._quorum]
            if len(cited) == self._quorum:
                self._seized = self._make(view, cited)
                break
        return self._seized

    def _make(self, view: int, cited: list[Signed[ViewChange]]) -> Signed[NewView]:
        me, sign = self._signer.me, self._signer.sign
        plan = compute_plan([signed.message for signed in cited], 0)
        proposals = tuple(
            Reproposal(digest, seq, sign(PrePrepare(digest, me, seq, view)).signature) for seq, digest in plan.proposals
        )
        parts = tuple(Cited(signed.encoded, signed.signature) for signed in cited)
        return sign(NewView(proposals, me, view, parts))
