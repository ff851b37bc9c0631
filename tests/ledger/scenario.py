"""Events of many types, denied and skipped ones among them, over six epochs that pay; prints each header hash."""

import sys
from pathlib import Path

from ledger.events import SignedEvent
from ledger.identity import IdentityCreated
from ledger.tokens import FLX
from ledger.transfers import TokensTransferred
from social.follows import AccountFollowed, AccountUnfollowed
from social.posts import PostPublished, ReplyPublished
from social.profiles import HandleClaimed, ProfileUpdated
from social.reactions import ContentLiked, LikeWithdrawn
from tests.economy.town import EPOCH_BEATS, Town
from tests.ledger.world import id_of

BLOCKS = 6 * EPOCH_BEATS + 1


def main(folder: Path) -> None:
    world = Town(folder, 6, {"sybil": {"bond": 0}, "rewards": {"mass_full": 0}})
    people = [*world.people, *(world.person(f"person {number}") for number in range(4))]
    posts: list[bytes] = [bytes(32)]
    print(world.chain.head.hash.hex())
    for block in range(BLOCKS):
        events: list[SignedEvent] = []
        for number, person in enumerate(people):
            other, post = people[(number + block) % 10], posts[(number * 7 + block) % len(posts)]
            match (block + number) % 10 if block else 0:
                case 0:
                    event = world.sign(person, IdentityCreated)
                case 1:
                    event = world.sign(person, HandleClaimed, handle=f"name_{block * number % 30}")
                case 2:
                    event = world.sign(person, ProfileUpdated, text=f'{{"bio":"I, {number}"}}')
                case 3:
                    event = world.sign(person, TokensTransferred, atoms=10**block, to=other.account, token=FLX)
                case 4:
                    event = world.sign(person, ContentLiked, target=post)
                case 5:
                    event = world.sign(person, AccountFollowed, target=other.account)
                case 6:
                    event = world.sign(person, LikeWithdrawn, target=post)
                case 7:
                    event = world.sign(person, AccountUnfollowed, target=other.account)
                case 8:
                    event = world.sign(person, ReplyPublished, text=f"Reply {block}", parent=post)
                case _:
                    event = world.sign(person, PostPublished, text=f"Ünï {block} İı", tags=("b", "a", f"t{number}"))
                    posts.append(id_of(event))
            events.append(event)
        events.append(
            world.sign(people[block % 10], ContentLiked, target=posts[-1], nonce=0)
        )  # of a used nonce: skipped
        print(world.execute(*events, beat=True).hash.hex())
    world.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
