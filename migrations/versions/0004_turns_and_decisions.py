"""Turns, lanes, retry policies and decisions."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

CLAIMABLE = sa.text("status IN ('queued', 'running')")
IN_LINE = sa.text("status = 'queued' AND turn IS NOT NULL")
DELAYED = sa.text("status = 'queued' AND turn IS NULL")
RUNNING = sa.text("status = 'running'")
DATED = sa.text("status IN ('queued', 'running', 'waiting') AND deadline_at IS NOT NULL")
ENDED = sa.text("finished_at IS NOT NULL")
UNDECIDED = sa.text("decision IS NULL")
PLACE = [sa.text("priority DESC"), "turn", "created_at", "task_id"]

tasks = sa.table(
    "tasks",
    *(sa.column(name, sa.String()) for name in ("task_id", "task_type", "payload", "lane")),
)


def _word(name: str, *, null: bool = False, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=null, server_default=default)


def _time(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _index(
    name: str, table: str, columns: list[str | sa.TextClause], where: sa.TextClause, **more: bool
) -> None:
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where, **more)


def upgrade() -> None:
    op.drop_index("ix_tasks_claimable", "tasks")
    op.add_column("tasks", _word("lane", default=""))
    # A task without a turn joins the line at the next claim: those that are queued now as well.
    op.add_column("tasks", sa.Column("turn", sa.BigInteger(), nullable=True))
    op.add_column("tasks", sa.Column("retry", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("tasks", _word("on_indeterminate", default="fail"))
    _fill_lanes()
    _index("ix_tasks_line", "tasks", PLACE, IN_LINE)
    _index("ix_tasks_line_of_owner", "tasks", ["owner", "priority", "turn"], IN_LINE)
    _index("ix_tasks_line_of_lane", "tasks", ["lane", *PLACE], IN_LINE)
    _index("ix_tasks_delayed", "tasks", ["run_at", "task_id"], DELAYED)
    _index("ix_tasks_running", "tasks", ["lane"], RUNNING)
    _index("ix_tasks_dated", "tasks", ["deadline_at"], DATED)
    _index("ix_tasks_ended", "tasks", ["finished_at"], ENDED)
    _create_decisions()


def _fill_lanes() -> None:
    """Caps count tool tasks by their server; an agent's task knows its model from now on only."""
    connection = op.get_bind()
    calls = sa.select(tasks.c.task_id, tasks.c.payload).where(
        tasks.c.task_type == "tool", sa.column("finished_at").is_(None)
    )
    for task_id, payload in connection.execute(calls).all():
        lane = f"server:{json.loads(payload)['server']}"
        op.execute(sa.update(tasks).where(tasks.c.task_id == task_id).values(lane=lane))


def _create_decisions() -> None:
    op.create_table(
        "decisions",
        _word("decision_id"),
        _word("task_id"),
        _word("owner"),
        _word("kind"),
        sa.Column("question", sa.Text(), nullable=False),
        _time("created_at"),
        _time("decided_at", null=True),
        _word("decision", null=True),
        _word("decided_by", null=True),
        sa.PrimaryKeyConstraint("decision_id", name="pk_decisions"),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.task_id"], name="fk_decisions_task_id", ondelete="CASCADE"
        ),
    )
    op.create_index(
        "ix_decisions_created_at_decision_id", "decisions", ["created_at", "decision_id"]
    )
    op.create_index("ix_decisions_task_id", "decisions", ["task_id"])
    _index("uq_decisions_open", "decisions", ["task_id"], UNDECIDED, unique=True)


def downgrade() -> None:
    op.drop_table("decisions")
    for name in (
        "ix_tasks_ended",
        "ix_tasks_dated",
        "ix_tasks_running",
        "ix_tasks_delayed",
        "ix_tasks_line_of_lane",
        "ix_tasks_line_of_owner",
        "ix_tasks_line",
    ):
        op.drop_index(name, "tasks")
    for name in ("on_indeterminate", "retry", "turn", "lane"):
        op.drop_column("tasks", name)
    _index(
        "ix_tasks_claimable",
        "tasks",
        [sa.text("priority DESC"), "created_at", "task_id"],
        CLAIMABLE,
    )
