"""Guards on published text.  They judge the salted reference, so a replay gives the same verdict after an erasure."""

from ledger.payloads import TEXT_BYTES_MAX, ContentRef
from ledger.verdict import Fact, Verdict, allow, deny


def judge_text_length(content: ContentRef, bytes_max: int = TEXT_BYTES_MAX) -> Verdict:
    """Allow 1..bytes_max bytes of text."""
    facts: dict[str, Fact] = {"bytes": content.bytes, "bytes_max": bytes_max}
    if content.bytes == 0:
        return deny("content.text_empty", "There is no text to publish.", **facts)
    if content.bytes > bytes_max:
        return deny("content.text_too_long", "The text is longer than the network allows.", **facts)
    return allow("content.text_fits", "The text is within the limit.", **facts)
