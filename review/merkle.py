"""The Merkle tree of the audit log (RFC 6962, section 2.1): roots, proofs, and how a tree grows without its leaves.

All hashes are SHA-256, 32 bytes. A node is named by its level and its number in that level: (level, n) covers the
leaves n·2^level up to, not including, (n + 1)·2^level. Where a formula is not in RFC 6962 it is in its successor,
RFC 9162, section 2.1.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

# Nodes of these heights are kept (C2SP tlog-tiles): any path is then found from a few runs of 256 hashes.
TILE_LEVELS = 8
TILE_WIDTH = 1 << TILE_LEVELS

Path = tuple[bytes, ...]
Hashes = Callable[[int, int, int], Sequence[bytes]]


class ProofError(ValueError):
    """No such proof exists: the tree has not that leaf, or not that size."""

    def __init__(self, *, index: int, size: int) -> None:
        super().__init__(f"A tree of {size} leaves has no proof for {index}.")


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf's bytes: SHA-256(0x00 ‖ leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node above two others: SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of all leaves, in order."""
    return Frontier().extended(hashes).root()


@dataclass(frozen=True, slots=True)
class Node:
    """A complete subtree."""

    level: int
    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: the hashes of its largest complete subtrees, from left to right.

    All that growing needs: n more leaves cost O(n + log size) hashes.
    """

    size: int = 0
    hashes: Path = ()

    def __post_init__(self) -> None:
        """Refuse an edge of another tree. Raises ValueError."""
        if len(self.hashes) != self.size.bit_count():
            msg = f"A tree of {self.size} leaves has {self.size.bit_count()} subtrees at its edge."
            raise ValueError(msg)

    def extended(self, leaves: Iterable[bytes], *, completed: Callable[[Node], None] | None = None) -> "Frontier":
        """Return the frontier with these leaf hashes appended; ``completed`` is told every subtree that became whole.

        Leaves themselves are subtrees of level 0.
        """
        size, stack = self.size, list(self.hashes)
        for leaf in leaves:
            whole, level, number = leaf, 0, size
            while True:
                if completed is not None:
                    completed(Node(level, number, whole))
                if not number & 1:
                    break
                whole, level, number = node_hash(stack.pop(), whole), level + 1, number >> 1
            stack.append(whole)
            size += 1
        return Frontier(size, tuple(stack))

    def root(self) -> bytes:
        """Return the root of the whole tree."""
        return self._edge(0) if self.hashes else EMPTY_ROOT

    def edge(self, level: int) -> bytes | None:
        """Return the hash of the last, incomplete subtree of this height; None where the last one is complete."""
        below = self.size & ((1 << level) - 1)
        return self._edge(len(self.hashes) - below.bit_count()) if below else None

    def _edge(self, begin: int) -> bytes:
        whole = self.hashes[-1]
        for left in reversed(self.hashes[begin:-1]):
            whole = node_hash(left, whole)
        return whole


def inclusion_path(index: int, frontier: Frontier, node: Callable[[int, int], bytes]) -> Path:
    """Return the audit path of a leaf in the tree that ends at the frontier, from the leaf upwards.

    ``node(level, number)`` returns the hash of a complete subtree. Raises ProofError.
    """
    if not 0 <= index < frontier.size:
        raise ProofError(index=index, size=frontier.size)
    path: list[bytes] = []
    last = frontier.size - 1
    for level in range(last.bit_length()):
        sibling = (index >> level) ^ 1
        if (sibling + 1) << level <= frontier.size:
            path.append(node(level, sibling))
        elif sibling == last >> level and (partial := frontier.edge(level)) is not None:
            path.append(partial)
    return tuple(path)


def root_from_path(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes | None:
    """Return the root that a path leads to from a leaf's hash (RFC 9162, 2.1.3.2); None where it fits no such tree."""
    if not 0 <= index < size:
        return None
    here, last, reached = index, size - 1, leaf
    for sibling in path:
        if not last:
            return None
        if here & 1 or here == last:
            reached = node_hash(sibling, reached)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            reached = node_hash(reached, sibling)
        here, last = here >> 1, last >> 1
    return None if last else reached


def is_included(index: int, size: int, leaf: bytes, *, path: Sequence[bytes], root: bytes) -> bool:
    """Tell whether the path proves that the leaf with this hash stands at the index under the root."""
    return root_from_path(index, size, leaf, path) == root


def consistency_proof(old: int, frontier: Frontier, node: Callable[[int, int], bytes]) -> Path:
    """Return the proof that the tree at the frontier continues its first ``old`` leaves (RFC 6962, 2.1.2).

    ``node(level, number)`` returns the hash of a complete subtree. Raises ProofError.
    """
    if not 0 < old <= frontier.size:
        raise ProofError(index=old, size=frontier.size)
    if old == frontier.size:
        return ()
    # The last complete subtree of the old tree; from there on it is that subtree's audit path.
    level = (old & -old).bit_length() - 1
    number = (old >> level) - 1
    begin = () if old == 1 << level else (node(level, number),)
    path: list[bytes] = []
    last = frontier.size - 1
    for height in range(level, last.bit_length()):
        sibling = (number >> (height - level)) ^ 1
        if (sibling + 1) << height <= frontier.size:
            path.append(node(height, sibling))
        elif sibling == last >> height and (partial := frontier.edge(height)) is not None:
            path.append(partial)
    return (*begin, *path)


def is_consistent(old: int, new: int, *, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether the proof shows that the tree of ``new`` leaves continues that of ``old`` (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == 0 or old == new:
        return not proof and (old == 0 or old_root == new_root)
    return _roots_from(old, new, old_root, list(proof)) == (old_root, new_root)


def _roots_from(old: int, new: int, old_root: bytes, proof: list[bytes]) -> tuple[bytes, bytes] | None:
    if not old & (old - 1):
        proof.insert(0, old_root)
    here, last = old - 1, new - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    if not proof:
        return None
    was = now = proof[0]
    for sibling in proof[1:]:
        if not last:
            return None
        if here & 1 or here == last:
            was, now = node_hash(sibling, was), node_hash(sibling, now)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            now = node_hash(now, sibling)
        here, last = here >> 1, last >> 1
    return None if last else (was, now)


class TiledNodes:
    """Finds the complete subtrees of a tree of which only the leaves and every eighth level above are kept.

    ``hashes(level, begin, end)`` returns the kept hashes of a level that is a multiple of TILE_LEVELS. One run of each
    such level is remembered, so that the paths of neighbours cost one look-up for every 256 leaves.
    """

    def __init__(self, hashes: Hashes, size: int) -> None:
        self._hashes = hashes
        self._size = size
        self._tiles: dict[int, tuple[int, list[Sequence[bytes]]]] = {}

    def __call__(self, level: int, number: int) -> bytes:
        """Return the hash of a complete subtree."""
        base, height = level - level % TILE_LEVELS, level % TILE_LEVELS
        tile = number >> (TILE_LEVELS - height)
        known = self._tiles.get(base)
        if known is None or known[0] != tile:
            known = self._tiles[base] = (tile, self._read(base, tile))
        return known[1][height][number - (tile << (TILE_LEVELS - height))]

    def _read(self, base: int, tile: int) -> list[Sequence[bytes]]:
        begin = tile * TILE_WIDTH
        rows = [self._hashes(base, begin, min(begin + TILE_WIDTH, self._size >> base))]
        for _ in range(TILE_LEVELS - 1):
            below = rows[-1]
            rows.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])
        return rows
