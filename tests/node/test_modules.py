"""What a node is made of: the registry, and the model that it judges texts by."""

from dataclasses import replace
from pathlib import Path

import pytest

from guards.text_model import MODEL_VERSION
from ledger.policies import read_policies
from node.config import ConfigInvalid
from node.modules import verify_safety_model
from tests.economy.town import Town


def test_a_node_with_another_text_model_refuses_to_start(tmp_path: Path) -> None:
    policies = read_policies(Town(tmp_path, 1).store)
    verify_safety_model(policies)

    for other in (
        replace(policies.safety, model=MODEL_VERSION + 1),
        replace(policies.safety, model_digest=bytes(32)),
    ):
        with pytest.raises(ConfigInvalid, match=r"safety@1 names text model .* install the version"):
            verify_safety_model(replace(policies, safety=other))
