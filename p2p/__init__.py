"""Nodes talking to nodes: one authenticated, bounded link to each peer, over libp2p."""
