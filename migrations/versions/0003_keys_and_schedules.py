"""Idempotency keys, schedules, and the fires that tasks came from."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def _word(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=null)


def _time(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        _word("caller"),
        _word("key"),
        _word("fingerprint"),
        sa.Column("answer", sa.Text(), nullable=True),
        _time("created_at"),
        sa.PrimaryKeyConstraint("caller", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_table(
        "schedules",
        _word("schedule_id"),
        _word("name"),
        _word("cron"),
        _word("timezone"),
        sa.Column("work", sa.Text(), nullable=False),
        _word("owner"),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        _time("next_at", null=True),
        _time("last_at", null=True),
        _word("last_task_id", null=True),
        _word("last_error", null=True),
        _time("created_at"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("schedule_id", name="pk_schedules"),
    )
    op.create_index("ix_schedules_next_at", "schedules", ["next_at"])
    op.create_index(
        "ix_schedules_created_at_schedule_id", "schedules", ["created_at", "schedule_id"]
    )
    op.add_column("tasks", _word("schedule_id", null=True))
    op.add_column("tasks", _time("scheduled_for", null=True))
    op.create_index("uq_tasks_fire", "tasks", ["schedule_id", "scheduled_for"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_tasks_fire", "tasks")
    op.drop_column("tasks", "scheduled_for")
    op.drop_column("tasks", "schedule_id")
    op.drop_table("schedules")
    op.drop_table("idempotency_keys")
