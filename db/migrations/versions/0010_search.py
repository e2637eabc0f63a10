"""Search: the words of items, found through FTS5 on SQLite and a GIN index on PostgreSQL, and how far it has got."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# The index keeps no second copy of the words; what it is told to forget must be told with the words it had.
_FTS5 = (
    "CREATE VIRTUAL TABLE item_search USING fts5("
    "words, content='item_words', content_rowid='number', tokenize='unicode61 remove_diacritics 0')",
    "CREATE TRIGGER item_words_added AFTER INSERT ON item_words BEGIN "
    "INSERT INTO item_search (rowid, words) VALUES (new.number, new.words); END",
    "CREATE TRIGGER item_words_removed AFTER DELETE ON item_words BEGIN "
    "INSERT INTO item_search (item_search, rowid, words) VALUES ('delete', old.number, old.words); END",
    "CREATE TRIGGER item_words_changed AFTER UPDATE ON item_words BEGIN "
    "INSERT INTO item_search (item_search, rowid, words) VALUES ('delete', old.number, old.words); "
    "INSERT INTO item_search (rowid, words) VALUES (new.number, new.words); END",
)
_GIN = ("CREATE INDEX item_search ON item_words USING gin (to_tsvector('simple', words))",)


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "item_words",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_item_words")),
        sa.UniqueConstraint("workspace", "item_id", name=op.f("uq_item_words_workspace_item_id")),
    )
    marks = op.create_table(
        "index_marks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_index_marks")),
    )
    # From the beginning: whatever is there already becomes findable.
    op.bulk_insert(marks, [{"name": "search", "seq": 0}])
    for statement in _FTS5 if is_sqlite else _GIN:
        op.execute(statement)
