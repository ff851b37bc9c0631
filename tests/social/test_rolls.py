"""Rolls: against a plain list, however ids come and go."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.draft import Draft
from ledger.rolls import Roll

IDS = st.integers(0, 9).map(lambda number: bytes([number]) * 32)


class Nothing:
    def get(self, key: bytes) -> bytes | None:
        return None


@given(st.lists(st.tuples(st.booleans(), IDS), max_size=60))
def test_a_roll_has_what_was_added_and_not_removed_each_once(steps: list[tuple[bool, bytes]]) -> None:
    draft, roll, other, model = Draft(Nothing()), Roll("x", b"o" * 32), Roll("x", b"p" * 32), list[bytes]()
    other.add(draft, bytes(32))
    for adds, member in steps:
        if adds and member not in model:
            roll.add(draft, member)
            model.append(member)
        elif not adds and member in model:
            roll.remove(draft, member)
            model[model.index(member)] = model[-1]
            model.pop()

        assert roll.read(draft) == model
        assert roll.count(draft) == len(model)
        assert roll.has(draft, member) == (member in model)
        assert roll.read(draft, 1, 2) == model[1:3]
    assert other.read(draft) == [bytes(32)]
