"""BigNum128: an amount as a value that carries its unit, over the functions of fixed_point.

Two constructors, named for what they take: `from_raw` for atoms of 10**-18, `from_whole` for whole tokens.  The ledger
itself keeps plain integers; this is for code where raw and whole numbers meet.  Every result is an amount from 0 to
2**128 - 1 raw, rounded down, or raises: nothing wraps, and nothing stops silently at zero.
"""

from dataclasses import dataclass

from ledger.primitives.fixed_point import (
    RAW_MAX,
    checked_add,
    checked_div,
    checked_mul,
    checked_sub,
    format_decimal,
    parse_decimal,
    whole_to_raw,
)


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class BigNum128:
    """BigNum128(5) does not exist, since it would not say five of what; BigNum128(raw=5) is from_raw(5)."""

    raw: int

    def __post_init__(self) -> None:
        if type(self.raw) is not int:  # nor a bool
            raise TypeError(f"expected an int, got {type(self.raw).__name__}")
        if not 0 <= self.raw <= RAW_MAX:
            raise OverflowError(f"expected a raw amount from 0 to 2**128-1, got {self.raw}")

    @classmethod
    def from_raw(cls, raw: int) -> "BigNum128":
        """Return the amount of `raw` atoms.  Raises OverflowError."""
        return cls(raw=raw)

    @classmethod
    def from_whole(cls, whole: int) -> "BigNum128":
        """Return the amount of `whole` tokens, up to 340282366920938463463.  Raises OverflowError."""
        return cls(raw=whole_to_raw(whole))

    @classmethod
    def parse(cls, text: str) -> "BigNum128":
        """Return the amount that a decimal text says, exactly.  Raises DecimalInvalid."""
        return cls(raw=parse_decimal(text))

    def format(self) -> str:
        """Return the amount with exactly 18 decimals; `parse` reads it back."""
        return format_decimal(self.raw)

    def add(self, other: "BigNum128") -> "BigNum128":
        """Return the sum.  Raises OverflowError."""
        return BigNum128(raw=checked_add(self.raw, other.raw))

    def sub(self, other: "BigNum128") -> "BigNum128":
        """Return the difference.  Raises OverflowError below zero."""
        return BigNum128(raw=checked_sub(self.raw, other.raw))

    def mul(self, other: "BigNum128") -> "BigNum128":
        """Return the product, rounded down.  Raises OverflowError."""
        return BigNum128(raw=checked_mul(self.raw, other.raw))

    def div(self, other: "BigNum128") -> "BigNum128":
        """Return the quotient, rounded down.  Raises OverflowError, and DivisorZero."""
        return BigNum128(raw=checked_div(self.raw, other.raw))

    def __str__(self) -> str:
        return self.format()
