"""What may become of a task's row from one commit to the next."""

from datetime import datetime, timedelta

import msgspec

from domain.model.tasks import FINISHED, TASK_TRANSITIONS, Task, TaskStatus
from tests.simulation.journal import Journal
from tests.simulation.names import tag_of
from tests.simulation.troubles import Troubles, seconds

QUEUED, RUNNING = TaskStatus.QUEUED, TaskStatus.RUNNING


class RowRules:
    """Holds every change of a row to the rules, and notes it."""

    def __init__(self, journal: Journal, troubles: Troubles) -> None:
        self._journal = journal
        self._troubles = troubles

    def changed(self, before: Task | None, after: Task, now: datetime) -> None:
        """A commit made `after` of `before`."""
        tag = tag_of(after)
        if before is None:
            self._journal.note("kept", tag, status=after.status.value)
            before = _queued(after)
        self._life_cycle(before, after)
        if after.attempt != before.attempt:
            self._claimed(before, after, now)
        elif before.status is RUNNING and after.status is RUNNING:
            self._kept_on(before, after)
        elif after.status is not before.status:
            if before.status is RUNNING:
                self._ended_by_its_own(before, after, now)
            error = after.error
            self._journal.note(
                "ended" if after.status in FINISHED else "put-back",
                tag,
                attempt=after.attempt,
                status=after.status.value,
                reason=error.reason if error is not None else "",
            )
        if after.cancel_requested_at is not None and before.cancel_requested_at is None:
            self._journal.note("cancel-kept", tag, status=after.status.value)

    def _ended_by_its_own(self, before: Task, after: Task, now: datetime) -> None:
        """Upkeep too ends what is overdue and whose worker is gone."""
        lease, deadline = before.lease_until, after.deadline_at
        given_up = lease is not None and lease <= now and deadline is not None and deadline <= now
        if given_up and lease is not None:
            self._journal.note("given-up", tag_of(after), lease=seconds(lease))
        writer = self._troubles.writer()
        self._journal.require(
            writer == before.worker or (given_up and after.status is TaskStatus.FAILED),
            f"{tag_of(after)} of {before.worker} was ended by {writer}",
        )

    def _life_cycle(self, before: Task, after: Task) -> None:
        tag = tag_of(after)
        self._journal.require(
            before.status not in FINISHED, f"{tag} has changed after its end ({before.status})"
        )
        self._journal.require(
            after.status is before.status or after.status in TASK_TRANSITIONS[before.status],
            f"{tag} went from {before.status} to {after.status}",
        )

    def _claimed(self, before: Task, after: Task, now: datetime) -> None:
        tag, require = tag_of(after), self._journal.require
        self._journal.note(
            "claimed",
            tag,
            attempt=after.attempt,
            of=after.max_attempts,
            again=before.status is RUNNING,
        )
        require(after.attempt == before.attempt + 1, f"{tag}: an attempt was left out")
        require(after.status is RUNNING, f"{tag}: claimed and not running")
        if before.status is QUEUED:
            require(before.run_at <= now, f"{tag} was claimed before it was due")
            return
        lease, worker = before.lease_until, before.worker
        passed = lease is not None and lease <= now
        require(passed, f"{tag} was claimed while {worker} still held it")
        if passed and lease is not None and worker is not None:
            why = self._troubles.since(worker, lease - timedelta(seconds=12))
            require(why, f"{tag}: {worker} lost its lease and nothing had happened to it")

    def _kept_on(self, before: Task, after: Task) -> None:
        tag = tag_of(after)
        self._journal.require(
            after.worker == before.worker, f"{tag}: two workers share attempt {after.attempt}"
        )
        if after.lease_until != before.lease_until:
            self._journal.require(
                self._troubles.writer() == after.worker,
                f"{tag}: its lease was changed by another than {after.worker}",
            )


def _queued(task: Task) -> Task:
    """The row as it would be, had it not been claimed in the transaction that kept it."""
    claimed = task.status is RUNNING
    return msgspec.structs.replace(
        task,
        status=QUEUED if claimed else task.status,
        attempt=0 if claimed else task.attempt,
        worker=None,
        lease_until=None,
    )
