"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

CLAIMABLE = sa.text("status IN ('queued', 'running')")
UNFINISHED = sa.text("status IN ('queued', 'running', 'waiting')")


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _word(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=null)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _time(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def upgrade() -> None:
    _create_agents_and_servers()
    _create_conversations()
    _create_tasks()
    _create_task_events()


def _create_agents_and_servers() -> None:
    op.create_table(
        "agents",
        _word("agent_id"),
        _word("name"),
        _text("instructions"),
        _word("model", null=True),
        _text("tools"),
        _text("capabilities"),
        _text("limits"),
        _word("owner"),
        _time("created_at"),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("agent_id", name="pk_agents"),
    )
    op.create_table(
        "servers",
        _word("name"),
        _text("spec"),
        _time("created_at"),
        sa.PrimaryKeyConstraint("name", name="pk_servers"),
    )
    op.create_table(
        "tool_lists",
        _word("digest"),
        _text("tools"),
        sa.PrimaryKeyConstraint("digest", name="pk_tool_lists"),
    )


def _create_conversations() -> None:
    op.create_table(
        "conversations",
        _word("conversation_id"),
        _word("agent_id"),
        _word("owner"),
        _number("last_seq"),
        _time("created_at"),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("conversation_id", name="pk_conversations"),
    )
    op.create_index(
        "ix_conversations_created_at_conversation_id",
        "conversations",
        ["created_at", "conversation_id"],
    )
    op.create_table(
        "messages",
        _word("message_id"),
        _word("conversation_id"),
        _number("seq"),
        _word("task_id", null=True),
        _text("message"),
        _time("created_at"),
        sa.PrimaryKeyConstraint("message_id", name="pk_messages"),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.conversation_id"],
            name="fk_messages_conversation_id",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("conversation_id", "seq", name="uq_messages_conversation_id_seq"),
    )


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        _word("task_id"),
        _word("task_type"),
        _word("status"),
        _text("payload"),
        _number("priority"),
        _word("owner"),
        _word("conversation_id", null=True),
        _number("attempt"),
        _number("max_attempts"),
        _time("run_at"),
        _time("deadline_at", null=True),
        _time("created_at"),
        _time("started_at", null=True),
        _time("finished_at", null=True),
        _time("cancel_requested_at", null=True),
        _word("worker", null=True),
        _time("lease_until", null=True),
        _text("progress", null=True),
        _text("result", null=True),
        _text("error", null=True),
        _number("last_seq"),
        sa.PrimaryKeyConstraint("task_id", name="pk_tasks"),
    )
    op.create_index(
        "ix_tasks_claimable",
        "tasks",
        [sa.text("priority DESC"), "created_at", "task_id"],
        sqlite_where=CLAIMABLE,
        postgresql_where=CLAIMABLE,
    )
    op.create_index(
        "uq_tasks_busy_conversation",
        "tasks",
        ["conversation_id"],
        unique=True,
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    )
    op.create_index("ix_tasks_created_at_task_id", "tasks", ["created_at", "task_id"])


def _create_task_events() -> None:
    op.create_table(
        "task_events",
        _word("task_id"),
        _number("seq"),
        _number("attempt"),
        _word("kind"),
        _text("data"),
        _time("at"),
        sa.PrimaryKeyConstraint("task_id", "seq", name="pk_task_events"),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.task_id"], name="fk_task_events_task_id", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    for table in (
        "task_events",
        "tasks",
        "messages",
        "conversations",
        "tool_lists",
        "servers",
        "agents",
    ):
        op.drop_table(table)
