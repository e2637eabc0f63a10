"""The Merkle tree: the published vectors of RFC 6962's reference implementations, and the RFC's own recursion."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from review.merkle import (
    EMPTY_ROOT,
    TILE_LEVELS,
    Frontier,
    Node,
    Path,
    ProofError,
    TiledNodes,
    consistency_proof,
    inclusion_path,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    root,
    root_from_path,
)

# From certificate-transparency and its heir, github.com/transparency-dev/merkle: testonly/constants.go and
# proof/verify_test.go. There a leaf of an inclusion proof is counted from 1.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (3, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        2,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        6,
        7,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
]


def hashed(count: int) -> list[bytes]:
    """The hashes of so many leaves, each its own."""
    return [leaf_hash(b"leaf %d" % number) for number in range(count)]


def split(size: int) -> int:
    """The largest power of two below the size, as the RFC divides a tree."""
    return 1 << ((size - 1).bit_length() - 1)


def naive_root(hashes: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, word for word, on leaf hashes."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else EMPTY_ROOT
    middle = split(len(hashes))
    return node_hash(naive_root(hashes[:middle]), naive_root(hashes[middle:]))


def naive_path(index: int, hashes: Sequence[bytes]) -> Path:
    """PATH of RFC 6962, word for word."""
    if len(hashes) == 1:
        return ()
    middle = split(len(hashes))
    if index < middle:
        return (*naive_path(index, hashes[:middle]), naive_root(hashes[middle:]))
    return (*naive_path(index - middle, hashes[middle:]), naive_root(hashes[:middle]))


def naive_subproof(old: int, hashes: Sequence[bytes], *, is_known: bool) -> Path:
    """SUBPROOF of RFC 6962, word for word."""
    if old == len(hashes):
        return () if is_known else (naive_root(hashes),)
    middle = split(len(hashes))
    if old <= middle:
        return (*naive_subproof(old, hashes[:middle], is_known=is_known), naive_root(hashes[middle:]))
    return (*naive_subproof(old - middle, hashes[middle:], is_known=False), naive_root(hashes[:middle]))


def nodes_of(hashes: Sequence[bytes]) -> Callable[[int, int], bytes]:
    """Every complete subtree of the tree, from its leaves and each eighth level, as they are kept."""
    kept: dict[int, list[bytes]] = {}

    def keep(node: Node) -> None:
        if node.level % TILE_LEVELS == 0:
            kept.setdefault(node.level, []).append(node.hash)

    Frontier().extended(hashes, completed=keep)
    return TiledNodes(lambda level, begin, end: kept[level][begin:end], len(hashes))


@pytest.mark.parametrize("size", range(9))
def test_the_published_roots_come_out(size: int) -> None:
    hashes = [leaf_hash(leaf) for leaf in LEAVES[:size]]

    assert root(hashes).hex() == ROOTS[size]


@pytest.mark.parametrize(("number", "size", "published"), INCLUSION)
def test_the_published_inclusion_proofs_come_out_and_verify(number: int, size: int, published: list[str]) -> None:
    hashes = [leaf_hash(leaf) for leaf in LEAVES[:size]]

    path = inclusion_path(number - 1, Frontier().extended(hashes), nodes_of(hashes))

    assert [each.hex() for each in path] == published
    assert is_included(number - 1, size, hashes[number - 1], path=path, root=bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new", "published"), CONSISTENCY)
def test_the_published_consistency_proofs_come_out_and_verify(old: int, new: int, published: list[str]) -> None:
    hashes = [leaf_hash(leaf) for leaf in LEAVES[:new]]

    proof = consistency_proof(old, Frontier().extended(hashes), nodes_of(hashes))

    assert [each.hex() for each in proof] == published
    roots = {"old_root": bytes.fromhex(ROOTS[old]), "new_root": bytes.fromhex(ROOTS[new])}
    assert is_consistent(old, new, proof=proof, **roots)


# The ways in which the reference implementation spoils a proof (corruptInclusionProof, corruptConsistencyProof).
@pytest.mark.parametrize(("number", "size", "published"), INCLUSION[1:])
def test_a_spoiled_inclusion_proof_is_refused(number: int, size: int, published: list[str]) -> None:
    index, path = number - 1, [bytes.fromhex(each) for each in published]
    leaf, top = leaf_hash(LEAVES[index]), bytes.fromhex(ROOTS[size])
    flipped = [
        [bytes([each[0] ^ 8]) + each[1:] if at == bad else each for at, each in enumerate(path)]
        for bad in range(len(path))
    ]
    spoiled: list[tuple[int, int, bytes, list[bytes], bytes]] = [
        *((wrong, size, leaf, path, top) for wrong in (index - 1, index + 1, index ^ 2)),
        *((index, wrong, leaf, path, top) for wrong in (size * 2, size // 2)),
        (index, size, leaf_hash(b"wrong"), path, top),
        *((index, size, leaf, path, wrong) for wrong in (EMPTY_ROOT, leaf)),
        *((index, size, leaf, wrong, top) for wrong in ([*path, b""], [*path, top], [b"", *path], [top, *path])),
        *((index, size, leaf, wrong, top) for wrong in (path[:-1], [path[0], leaf, *path[1:]], *flipped)),
    ]

    accepted = [each for each in spoiled if is_included(*each[:3], path=each[3], root=each[4])]

    assert accepted == []


@pytest.mark.parametrize(("old", "new", "published"), CONSISTENCY[1:])
def test_a_spoiled_consistency_proof_is_refused(old: int, new: int, published: list[str]) -> None:
    proof = [bytes.fromhex(each) for each in published]
    was, now = bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new])
    flipped = [
        [bytes([each[0] ^ 16]) + each[1:] if at == bad else each for at, each in enumerate(proof)]
        for bad in range(len(proof))
    ]
    spoiled: list[tuple[int, int, bytes, bytes, list[bytes]]] = [
        *((wrong, new, was, now, proof) for wrong in (old - 1, old + 1, old ^ 2)),
        *((old, wrong, was, now, proof) for wrong in (new * 2, new // 2)),
        *((old, new, *wrong, proof) for wrong in ((EMPTY_ROOT, now), (was, EMPTY_ROOT), (now, was))),
        *((old, new, was, now, wrong) for wrong in ([], proof[:-1], [*proof, b""], [*proof, was], [*proof, now])),
        *((old, new, was, now, wrong) for wrong in ([b"", *proof], [was, *proof], [proof[0], *proof], *flipped)),
    ]

    accepted = [
        (old_, new_, len(each))
        for old_, new_, was_, now_, each in spoiled
        if is_consistent(old_, new_, old_root=was_, new_root=now_, proof=each)
    ]

    assert accepted == []


@pytest.mark.parametrize(
    ("old", "new", "roots", "proof", "holds"),
    [
        (0, 0, (b"a", b"a"), [], True),
        (0, 1, (b"a", b"b"), [], True),
        (1, 1, (b"b", b"b"), [], True),
        (1, 1, (b"a", b"b"), [], False),
        (1, 0, (b"a", b"b"), [], False),
        (2, 1, (b"a", b"b"), [], False),
        (1, 2, (b"a", b"b"), [], False),
        (0, 1, (EMPTY_ROOT, EMPTY_ROOT), [EMPTY_ROOT], False),
        (1, 1, (EMPTY_ROOT, EMPTY_ROOT), [EMPTY_ROOT], False),
    ],
)
def test_the_borders_of_consistency(
    old: int, new: int, roots: tuple[bytes, bytes], proof: list[bytes], *, holds: bool
) -> None:
    assert is_consistent(old, new, old_root=roots[0], new_root=roots[1], proof=proof) is holds


@given(size=st.integers(0, 700), data=st.data())
def test_roots_and_inclusion_are_those_of_the_rfcs_recursion(size: int, data: st.DataObject) -> None:
    hashes = hashed(size)
    frontier = Frontier().extended(hashes)

    assert frontier.root() == naive_root(hashes)
    if size:
        index = data.draw(st.integers(0, size - 1))
        path = inclusion_path(index, frontier, nodes_of(hashes))
        assert path == naive_path(index, hashes)
        assert root_from_path(index, size, hashes[index], path) == naive_root(hashes)


@given(sizes=st.tuples(st.integers(1, 700), st.integers(1, 700)))
def test_consistency_is_that_of_the_rfcs_recursion(sizes: tuple[int, int]) -> None:
    old, new = sorted(sizes)
    hashes = hashed(new)

    proof = consistency_proof(old, Frontier().extended(hashes), nodes_of(hashes))

    assert proof == naive_subproof(old, hashes, is_known=True)
    roots = {"old_root": naive_root(hashes[:old]), "new_root": naive_root(hashes)}
    assert is_consistent(old, new, proof=proof, **roots)


@given(steps=st.lists(st.integers(0, 90), max_size=8))
def test_a_tree_grown_in_steps_is_the_tree_grown_at_once(steps: list[int]) -> None:
    hashes = hashed(sum(steps))
    borders = [0, *(sum(steps[: count + 1]) for count in range(len(steps)))]
    frontier = Frontier()
    nodes: list[Node] = []

    for begin, end in pairwise(borders):
        frontier = frontier.extended(hashes[begin:end], completed=nodes.append)

    assert frontier == Frontier().extended(hashes)
    assert nodes == [
        *(
            node
            for node in nodes
            if node.hash == naive_root(hashes[node.number << node.level : (node.number + 1) << node.level])
        )
    ]
    assert len(nodes) == sum(len(hashes) >> level for level in range(len(hashes).bit_length()))


def test_a_large_tree_is_proven_from_its_tiles() -> None:
    hashes = hashed(70_001)
    frontier, node = Frontier().extended(hashes), nodes_of(hashes)

    proven = [
        is_included(index, 70_001, hashes[index], path=inclusion_path(index, frontier, node), root=frontier.root())
        for index in (0, 1, 255, 256, 65_535, 65_536, 69_999, 70_000)
    ]

    assert proven == [True] * 8


@pytest.mark.parametrize("index", [-1, 3, 4])
def test_there_is_no_path_to_a_leaf_that_is_not_there(index: int) -> None:
    hashes = hashed(3)

    with pytest.raises(ProofError):
        inclusion_path(index, Frontier().extended(hashes), nodes_of(hashes))


@pytest.mark.parametrize("old", [0, 4])
def test_there_is_no_proof_of_an_empty_or_a_larger_tree(old: int) -> None:
    hashes = hashed(3)

    with pytest.raises(ProofError):
        consistency_proof(old, Frontier().extended(hashes), nodes_of(hashes))


def test_a_frontier_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="2 subtrees"):
        Frontier(3, (EMPTY_ROOT,))
