"""The clocks of an assessment: set with a grade, looked at by the timer, ended by a decision."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from hub_schemas.codes import ClockName
from hub_schemas.triage import ClockBreached, ClockCancelled, ClockMet, ClockStarted, ClockWarned
from hub_triage.commands import FireClock
from hub_triage.domain.state import CLOCKS, Assessment, ClockState
from hub_triage.policies.clocks import ClockPolicy

ClockFact = ClockStarted | ClockWarned | ClockBreached | ClockMet | ClockCancelled


def set_clocks(
    policy: ClockPolicy, state: Assessment, *, counts_from: datetime, at: datetime
) -> Iterator[ClockFact]:
    """Start a new epoch of each clock for the level of need; one that has no goal for it is cancelled.

    All count from ``counts_from``, so time already used stays used. A clock past its old goal that nobody
    had called late is called late first; one past its new goal is breached at once, as a late start.
    """
    for name in CLOCKS:
        timing = policy.timing(name, state.level_of_need, counts_from)
        if timing is None:
            yield from cancel(state, at, "regraded", name)
            continue
        for _, replaced in _running(state, name):
            yield from _overdue(state, name, replaced, at)
        started = ClockStarted(
            referral_id=state.referral_id,
            clock=name,
            epoch=state.clocks[name].epoch + 1 if name in state.clocks else 1,
            started_at=counts_from,
            goal_seconds=timing.goal.goal_seconds,
            calendar=timing.goal.calendar,
            warn_at=timing.warn_at,
            due_at=timing.due_at,
            policy=str(policy.stamp),
            policy_hash=policy.stamp.hash,
            risk_grade=state.risk_grade,
            level_of_need=state.level_of_need,
            calendar_hash=policy.calendars.stamp.hash,
        )
        yield started
        if started.due_at <= at:
            yield _breach(state, name, started.epoch, started.due_at, at, late_start=True)


def fire(command: FireClock, state: Assessment | None) -> Iterator[ClockFact]:
    """Say each threshold once. A stale epoch, a clock that has ended and an early look say nothing."""
    clock = state.clocks.get(command.clock) if state else None
    if state is None or clock is None or not clock.running or clock.epoch != command.epoch:
        return
    if clock.warn_at <= command.at and not clock.warned and not clock.breached:
        yield ClockWarned(
            referral_id=state.referral_id,
            clock=command.clock,
            epoch=clock.epoch,
            warned_at=command.at,
            due_at=clock.due_at,
            authority=state.authority,
        )
    yield from _overdue(state, command.clock, clock, command.at)


def meet(state: Assessment, at: datetime, *names: ClockName) -> Iterator[ClockFact]:
    """What these clocks waited for has happened; one that nobody had called late yet is called late first."""
    for name, clock in _running(state, *names):
        yield from _overdue(state, name, clock, at)
        yield ClockMet(
            referral_id=state.referral_id,
            clock=name,
            epoch=clock.epoch,
            met_at=at,
            due_at=clock.due_at,
            in_time=at < clock.due_at,
        )


def cancel(
    state: Assessment, at: datetime, reason: Literal["withdrawn", "not_shared", "regraded"], *names: ClockName
) -> Iterator[ClockFact]:
    """The reason for these clocks fell away; a breach until then stays a breach."""
    for name, clock in _running(state, *names):
        yield from _overdue(state, name, clock, at)
        yield ClockCancelled(
            referral_id=state.referral_id, clock=name, epoch=clock.epoch, cancelled_at=at, reason=reason
        )


def _running(state: Assessment, *names: ClockName) -> Iterator[tuple[ClockName, ClockState]]:
    clocks = ((name, state.clocks.get(name)) for name in names)
    return ((name, clock) for name, clock in clocks if clock and clock.running)


def _overdue(state: Assessment, name: ClockName, clock: ClockState, at: datetime) -> Iterator[ClockBreached]:
    if clock.due_at <= at and not clock.breached:
        yield _breach(state, name, clock.epoch, clock.due_at, at, late_start=False)


def _breach(
    state: Assessment, name: ClockName, epoch: int, due_at: datetime, at: datetime, *, late_start: bool
) -> ClockBreached:
    return ClockBreached(
        referral_id=state.referral_id,
        clock=name,
        epoch=epoch,
        breached_at=at,
        due_at=due_at,
        authority=state.authority,
        risk_grade=state.risk_grade,
        level_of_need=state.level_of_need,
        late_start=late_start,
    )
