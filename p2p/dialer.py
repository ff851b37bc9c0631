"""Keep a link to each configured peer: dial, serve, dial again.

Of two validators the one with the lower peer id dials, so that a pair has one connection; the other waits for it, and
dials itself only when nothing came for a while.  Nodes that are not validators always dial: nobody dials them.
"""

import logging
import random
from collections.abc import Awaitable, Callable

import trio

from p2p.errors import PeerUnreachable
from p2p.handshake import Role
from p2p.host import LinkStream, PeerAddress
from p2p.parameters import NetworkLimits

logger = logging.getLogger(__name__)


def is_first_to_dial(own_role: Role, own_key: bytes, peer_key: bytes) -> bool:
    """Tell whether it is ours to dial this peer.  Peer ids order as the keys inside them."""
    return own_role is not Role.VALIDATOR or own_key < peer_key


def is_old_link_kept(own_key: bytes, peer_key: bytes, *, old_dialed: bool, new_dialed: bool, old_silent: bool) -> bool:
    """Tell which of two links to a peer stays: the old one, or the new one.  `dialed` means by us.

    Both ends decide alike: the lower peer id's dial is kept.  But a new link that the same side dialed replaces the old
    one, since that side knows that the old one is dead; and so does any link when the old one has been silent, because
    then only the other end may know.
    """
    if old_dialed == new_dialed or old_silent:
        return False
    return old_dialed == (own_key < peer_key)


async def keep_dialed(
    address: PeerAddress,
    *,
    wait_turn: Callable[[], Awaitable[None]],
    dial: Callable[[PeerAddress], Awaitable[LinkStream]],
    serve: Callable[[LinkStream], Awaitable[None]],
    limits: NetworkLimits,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Dial whenever it is our turn, and serve the link; runs until cancelled.

    wait_turn: returns when there is no link to the peer and we should dial.  Raises nothing that a peer can cause.
    """
    task_status.started()
    retry_s = limits.retry_s_min
    while True:
        await wait_turn()
        began = trio.current_time()
        try:
            stream = await dial(address)
        except PeerUnreachable as error:
            logger.info("%s: next try in %.1f s: %s", address.peer_id, retry_s, error)
        else:
            await serve(stream)
            if trio.current_time() - began >= limits.steady_s:
                retry_s = limits.retry_s_min
        # Not exactly: nodes that lost the same peer at the same time should not return at the same time.
        await trio.sleep(retry_s * random.uniform(0.8, 1.2))
        retry_s = min(retry_s * 2, limits.retry_s_max)
