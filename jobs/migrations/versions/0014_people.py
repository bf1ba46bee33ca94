"""Keep accounts, groups, sessions, tokens, grants and the audit log; and whose each upload is."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_key", sa.Text, nullable=False, unique=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password", sa.Text),
        sa.Column("subject", sa.Text, unique=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "groups",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_key", sa.Text, nullable=False, unique=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", ID, sa.ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("account_id", ID, sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("is_claimed", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_index("group_members_account", "group_members", ["account_id"])
    op.create_table(
        "sessions",
        sa.Column("id", ID, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("account_id", ID, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("identity_token", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("sessions_account", "sessions", ["account_id"])
    op.create_table(
        "tokens",
        sa.Column("id", ID, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("account_id", ID, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("dataset", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sqlite_autoincrement=True,
    )
    op.create_index("tokens_account", "tokens", ["account_id"])
    op.create_table(
        "invitations",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("account_id", ID, sa.ForeignKey("accounts.id")),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "restricted_datasets",
        sa.Column("dataset", sa.Text, primary_key=True),
    )
    op.create_table(
        "grants",
        sa.Column("id", ID, primary_key=True),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("account_id", ID, sa.ForeignKey("accounts.id")),
        sa.Column("group_id", ID, sa.ForeignKey("groups.id", ondelete="CASCADE")),
        sa.Column("role", sa.Text, nullable=False),
        sa.UniqueConstraint("dataset", "account_id"),
        sa.UniqueConstraint("dataset", "group_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "policy_versions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("id", ID, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text),
        sa.Column("via", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_at", "audit", ["at"])
    op.create_index("audit_actor", "audit", ["actor", "id"])
    op.create_index("audit_action", "audit", ["action", "id"])
    op.create_index("audit_object", "audit", ["object", "id"])
    op.create_index("audit_result", "audit", ["result", "id"])
    op.execute(sa.text("INSERT INTO policy_versions (id, version) VALUES (1, 0)"))
    for name in ("account_id", "token_id"):
        op.add_column("uploads", sa.Column(name, sa.BigInteger))
    op.add_column("uploads", sa.Column("uploaded_by", sa.Text))
    op.create_index("uploads_account", "uploads", ["account_id", "created_at"])
    op.create_index("uploads_uploaded_by", "uploads", ["uploaded_by", "id"])
