"""Certificates for whoever may not know consensus: the check that proofs and archives are given as a function."""

from consensus.messages import Certificate
from consensus.quorum import verify_certificate
from ledger.certified import VerifyCertificate
from ledger.primitives.records import decode_record
from ledger.service import Validators
from node.eras import make_parameters


def make_certificate_verifier(chain_id: bytes) -> VerifyCertificate:
    """Return what raises ValueError unless a quorum of a set signed the header of a height."""

    def verify(validators: Validators, height: int, header_hash: bytes, data: bytes) -> None:
        certificate = decode_record(Certificate, data)
        if (certificate.seq, certificate.digest) != (height, header_hash):
            raise ValueError("for another block than the header's")
        verify_certificate(make_parameters(chain_id, validators), certificate)

    return verify
