"""Indexes of tasks that hold no more than they are asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

UNFINISHED = sa.text("status IN ('queued', 'running', 'waiting')")
TALKING = sa.text("status IN ('queued', 'running', 'waiting') AND conversation_id IS NOT NULL")
IN_LINE = sa.text("status = 'queued' AND turn IS NOT NULL")
IN_LINE_OF = sa.text("status = 'queued' AND turn >= 0")
FIRED = sa.text("schedule_id IS NOT NULL")
BUSY = ("uq_tasks_busy_conversation", ["conversation_id"])
OF_OWNER = ("ix_tasks_line_of_owner", ["owner", "priority", "turn"])
OF_LANE = (
    "ix_tasks_line_of_lane",
    ["lane", sa.text("priority DESC"), "turn", "created_at", "task_id"],
)
FIRE = ("uq_tasks_fire", ["schedule_id", "scheduled_for"])

Index = tuple[str, list[str | sa.TextClause]]


def _replaced(index: Index, where: sa.TextClause | None) -> None:
    name, columns = index
    op.drop_index(name, "tasks")
    unique = name.startswith("uq_")
    op.create_index(
        name, "tasks", columns, unique=unique, sqlite_where=where, postgresql_where=where
    )


def upgrade() -> None:
    _replaced(BUSY, TALKING)
    _replaced(OF_OWNER, IN_LINE_OF)
    _replaced(OF_LANE, IN_LINE_OF)
    _replaced(FIRE, FIRED)


def downgrade() -> None:
    _replaced(BUSY, UNFINISHED)
    _replaced(OF_OWNER, IN_LINE)
    _replaced(OF_LANE, IN_LINE)
    _replaced(FIRE, None)
