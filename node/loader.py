"""Loading content through the API: accounts, posts, likes and follows drawn from a seed, signed here, sent in batches.

The posts' file has no authors: they are drawn (Zipf), and so are likes and follows.  Used by the devnet, the bench and
the soak; it knows the node only through HTTP.
"""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson

from ledger.authoring import Reference, make_event, sign_event
from ledger.events import SignedEvent, compute_event_id
from ledger.identity import IdentityCreated
from ledger.payloads import TEXT_BYTES_MAX, Payload, compute_content_ref
from ledger.primitives.ids import compute_account_id
from ledger.primitives.signing import SigningKey
from ledger.registry import Registry
from social.follows import AccountFollowed
from social.posts import make_post, make_reply
from social.profiles import HandleClaimed, ProfileUpdated
from social.reactions import ContentLiked

BATCH_EVENTS = 48
WORKERS = 8
TAG_OF = str.maketrans({"-": "_", " ": "_"})


class LoadFailed(RuntimeError):
    """The node refused what was loaded; the message carries its reason."""


@dataclass(slots=True)
class Author:
    """An account of the loader, and the nonce of its last event."""

    key: SigningKey
    account: bytes
    handle: str
    nonce: int = 0


@dataclass(frozen=True, slots=True)
class SourcePost:
    """One line of the posts' file."""

    community: str
    text: str


@dataclass(slots=True)
class Tally:
    """What became of the events."""

    outcomes: dict[str, int] = field(default_factory=dict[str, int])
    refusals: dict[str, int] = field(default_factory=dict[str, int])

    def count(self, result: dict[str, Any]) -> None:
        if result["status"] == "final":
            outcome = result["receipt"]["outcome"]
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
            if outcome != "applied":
                self._refuse(next(each["code"] for each in result["receipt"]["verdicts"] if not each["allowed"]))
        else:
            if result["verdict"] is None:
                raise LoadFailed(
                    f"event {result['event_id']} was accepted, and is not final yet; refused: {self.refusals}"
                )
            self.outcomes[result["status"]] = self.outcomes.get(result["status"], 0) + 1
            self._refuse(result["verdict"]["code"])

    def _refuse(self, code: str) -> None:
        self.refusals[code] = self.refusals.get(code, 0) + 1


def read_posts(path: Path, limit: int | None = None) -> list[SourcePost]:
    """Return the posts of a JSON-lines file with `title`, `text` and `community`."""
    posts: list[SourcePost] = []
    with path.open("rb") as lines:
        for line in lines:
            row = cast("dict[str, Any]", orjson.loads(line))
            text = f"{row['title']}\n\n{row['text']}".strip()
            while len(text.encode()) > TEXT_BYTES_MAX:
                text = text[:-100]
            posts.append(SourcePost(row["community"].lower().translate(TAG_OF)[:32], text))
            if limit is not None and len(posts) == limit:
                break
    return posts


def make_authors(chain_id: bytes, count: int, seed: int) -> list[Author]:
    """Return the loader's accounts; equal seeds give equal keys."""
    authors: list[Author] = []
    for number in range(count):
        key = SigningKey(hashlib.sha256(f"atlas loader {seed} {number}".encode()).digest())
        authors.append(Author(key, compute_account_id(chain_id, key.public), f"{NAMES[number % len(NAMES)]}_{number}"))
    return authors


NAMES = ("ada", "alan", "grace", "edsger", "barbara", "donald", "leslie", "radia", "ken", "margaret")


class Loader:
    """Signs and submits.  `progress(done)` is called with the number of events that each answer settles."""

    def __init__(
        self,
        urls: Sequence[str],
        chain_id: bytes,
        registry: Registry,
        authors: list[Author],
        seed: int,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.tally = Tally()
        self.posts: list[bytes] = []
        self.on_result: Callable[[dict[str, Any]], None] = lambda result: None
        self._urls = urls
        self._chain_id = chain_id
        self._registry = registry
        self._authors = authors
        self._random = random.Random(seed)
        self._progress = progress
        self._references: dict[str, Reference] = {}  # the head of each node: another may not have that block yet

    async def run(
        self, posts: Sequence[SourcePost], likes: int, follows: int, replies: int, *, founded: bool = False
    ) -> None:
        """Load everything.  Raises LoadFailed when the node does not answer as the API says.

        founded: the accounts exist since genesis, and are not opened.
        """
        connector = aiohttp.TCPConnector(limit=WORKERS)
        async with aiohttp.ClientSession(connector=connector) as session:
            await self._refresh(session)
            if not founded:
                await self._phase(session, self._identities())
            await self._phase(session, self._handles())
            await self._phase(session, self._profiles())
            await self._phase(session, self._follows(follows))
            await self._phase(session, self._posts(posts))
            await self._phase(session, self._replies(replies))
            await self._phase(session, self._likes(likes))

    async def run_more(self, posts: Sequence[SourcePost], likes: int) -> None:
        """Load more posts and likes with the same accounts.  Raises LoadFailed."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=WORKERS)) as session:
            await self._refresh(session)
            await self._phase(session, self._posts(posts))
            await self._phase(session, self._likes(likes))

    # What is drawn.  Each phase depends only on earlier ones, so its events may come in any order across accounts.

    def _identities(self) -> Iterator[tuple[Author, str, Any, str | None]]:
        for author in self._authors:
            yield author, "identity.IdentityCreated", IdentityCreated(), None

    def _handles(self) -> Iterator[tuple[Author, str, Any, str | None]]:
        for author in self._authors:
            yield author, "identity.HandleClaimed", HandleClaimed(author.handle), None

    def _profiles(self) -> Iterator[tuple[Author, str, Any, str | None]]:
        for author in self._authors:
            name = author.handle.partition("_")[0].title()
            about = {"bio": f"{name} of the sample network.", "display_name": name}
            yield author, "identity.ProfileUpdated", None, orjson.dumps(about, option=orjson.OPT_SORT_KEYS).decode()

    def _follows(self, count: int) -> Iterator[tuple[Author, str, Any, str | None]]:
        pairs: dict[tuple[int, int], None] = {}
        possible = len(self._authors) * (len(self._authors) - 1)
        while len(pairs) < min(count, possible):
            follower, followed = self._random.randrange(len(self._authors)), self._zipf(len(self._authors))
            if follower != followed:
                pairs[follower, followed] = None
        for follower, followed in pairs:
            target = self._authors[followed].account
            yield self._authors[follower], "graph.AccountFollowed", AccountFollowed(target), None

    def _posts(self, posts: Sequence[SourcePost]) -> Iterator[tuple[Author, str, Any, str | None]]:
        for post in posts:
            yield self._authors[self._zipf(len(self._authors))], "content.PostPublished", post.community, post.text

    def _replies(self, count: int) -> Iterator[tuple[Author, str, Any, str | None]]:
        for _ in range(count):
            parent = self.posts[self._zipf(len(self.posts))]
            text = self._random.choice(REPLIES)
            yield self._random.choice(self._authors), "content.ReplyPublished", parent, text

    def _likes(self, count: int) -> Iterator[tuple[Author, str, Any, str | None]]:
        """A few of them are repeated on purpose: the ledger must deny those."""
        for _ in range(count):
            target = self.posts[self._zipf(len(self.posts))]
            yield self._random.choice(self._authors), "graph.ContentLiked", ContentLiked(target), None

    def _zipf(self, count: int) -> int:
        """Draw 0..count-1, low numbers more often."""
        return int(count ** self._random.random()) - 1 if count > 1 else 0

    # How it is sent.

    async def _phase(
        self, session: aiohttp.ClientSession, actions: Iterator[tuple[Author, str, Any, str | None]]
    ) -> None:
        """Submit a phase: each worker has its own accounts, so that nonces stay in order."""
        queues: list[list[tuple[Author, str, Any, str | None]]] = [[] for _ in range(WORKERS)]
        for action in actions:
            queues[action[0].account[0] % WORKERS].append(action)
        await gather([self._work(session, number, queue) for number, queue in enumerate(queues) if queue])

    async def _work(
        self, session: aiohttp.ClientSession, number: int, queue: list[tuple[Author, str, Any, str | None]]
    ) -> None:
        url = self._urls[number % len(self._urls)]
        for start in range(0, len(queue), BATCH_EVENTS):
            events = [self._make(url, *action) for action in queue[start : start + BATCH_EVENTS]]
            answer = await submit(session, url, events)
            for result in answer["results"]:
                self.tally.count(result)
                self.on_result(result)
            self._remember_head(url, answer["ledger"])
            self._progress(len(events))

    def _make(self, url: str, author: Author, name: str, body: Any, text: str | None) -> SignedEvent:
        payload = None if text is None else Payload(self._random.randbytes(16), text)
        if payload is not None:
            if name == "content.PostPublished":
                body = make_post(payload, (body,))
            elif name == "content.ReplyPublished":
                body = make_reply(payload, body)
            else:
                body = ProfileUpdated(compute_content_ref(payload))
        kind = self._registry.latest(name)
        assert kind is not None
        author.nonce += 1
        event = make_event(
            kind,
            body,
            author=author.account,
            key=author.key.public,
            nonce=author.nonce,
            reference=self._references[url],
        )
        if name == "content.PostPublished":
            self.posts.append(compute_event_id(event))
        return sign_event(author.key, self._chain_id, event, payload)

    async def _refresh(self, session: aiohttp.ClientSession) -> None:
        for url in self._urls:
            async with session.get(f"{url}/api/v1/ledger/head") as response:
                self._remember_head(url, (await response.json())["ledger"])

    def _remember_head(self, url: str, anchor: dict[str, Any]) -> None:
        self._references[url] = Reference(anchor["height"], bytes.fromhex(anchor["header_hash"]), anchor["beat"])


def to_submission(events: Sequence[SignedEvent]) -> bytes:
    """Return the body of POST /events."""
    return orjson.dumps(
        {
            "events": [
                {
                    "event": each.event.hex(),
                    "signature": each.signature.hex(),
                    "payload": None if each.payload is None else each.payload.hex(),
                }
                for each in events
            ]
        }
    )


async def submit(session: aiohttp.ClientSession, url: str, events: Sequence[SignedEvent]) -> dict[str, Any]:
    """Submit events and wait until they are final.  Raises LoadFailed."""
    headers = {"Content-Type": "application/json"}
    async with session.post(f"{url}/api/v1/events?wait=final", data=to_submission(events), headers=headers) as response:
        answer = cast("dict[str, Any]", orjson.loads(await response.read()))
        if response.status != 202:
            raise LoadFailed(f"{url}: expected 202, got {response.status}: {answer}")
        return answer


async def gather(work: Sequence[Awaitable[None]]) -> None:
    """Wait for all; the first failure ends the rest."""

    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(_run(each))


async def _run(work: Awaitable[None]) -> None:
    await work


REPLIES = (
    "Thank you, this is worth a second read.",
    "Do you have a source for the figures?",
    "I tried it; it works as described.",
    "The discussion below the original was just as good.",
    "This aged well.",
)
