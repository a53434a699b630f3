"""What a fetch task has in hand: leased items on their way, from gate, robots.txt and redirects to their end.

An item waits in three places only: for the answer of its host, for its origin's robots.txt, and for its host's next
slot, the last not for long. Whatever has to wait longer goes back to the frontier, untouched.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, TypeAlias

import structlog

from tasks.base import Context
from tasks.errors import (
    Disallowed,
    Gone,
    HttpError,
    PenstockError,
    SourcePaused,
    StreamFull,
    Transient,
    Unsafe,
)
from tasks.events import Event
from tasks.fetch_ports import (
    Answer,
    Answered,
    Done,
    Fetched,
    HostDue,
    HostPause,
    ItemEnd,
    ItemFailed,
    ItemPostponed,
    ItemPushed,
    ItemUnchanged,
    NotModified,
    Redirect,
    Request,
    Slot,
    SlotEnd,
    Wanted,
)
from tasks.job import (
    REDIRECTS,
    Job,
    failure_of,
    is_rules,
    lease_of,
    moved,
    name_of,
    payload_of,
    portions,
    recrawl_of_lease,
    says_of_host,
    slot_end,
)
from tasks.ports import FetchFailure, ItemLease
from tasks.steps.canonical import host_of, origin_of
from tasks.steps.hosts import target
from tasks.steps.page import ItemState, SourceProfile

log = structlog.get_logger("penstock.fetch")

HORIZON_US: Final = 200_000  # how far ahead the gate may grant a slot, which a pause of the host comes too late for
HELD_US: Final = 5_000_000  # an item whose host's next slot is farther away goes back …
HELD_ON_THE_WAY_US: Final = 30_000_000  # … and this far away after a redirect
FULL_US: Final = 5_000_000  # how long an item waits when the stream is full
HOSTS: Final = 500  # that one look takes in
ROBOTS_BYTES: Final = 786_432  # of which ``steps.robots`` takes the first 500 KiB (RFC 9309, section 2.5)


Place: TypeAlias = tuple[str, str]  # a source, and a host


@dataclass(slots=True, eq=False)
class Crawl:
    """The items that a task has leased. ``take`` and ``settle`` in turn, in the end ``let_go``."""

    ctx: Context
    done: Counter[str] = field(default_factory=Counter)
    _under_way: dict[str, Job] = field(default_factory=dict)  # by the token of their slots
    _unread: defaultdict[str, list[Job]] = field(default_factory=lambda: defaultdict(list))  # by origin, see learn
    _held: defaultdict[str, deque[Job]] = field(default_factory=lambda: defaultdict(deque))  # by host
    _ends: list[ItemEnd] = field(default_factory=list)
    _slot_ends: list[SlotEnd] = field(default_factory=list)

    def in_hand(self) -> int:
        """Return how many requests are under way or wait to be."""
        return len(self._under_way) + sum(map(len, self._held.values())) + sum(map(len, self._unread.values()))

    def holds(self) -> bool:
        """Tell whether something waits for a slot."""
        return bool(self._held)

    # --- taking ---------------------------------------------------------------------------------------------------

    def take(self) -> int:
        """Claim what may be fetched now, as far as there is room, and begin it; return how many items were claimed."""
        now = self.ctx.clock.now_us()
        self._admit_held(now)
        claimed = self._claim(now)
        self._close_books(now)
        return claimed

    def take_held(self) -> None:
        """Go on with what is in hand, without claiming more."""
        now = self.ctx.clock.now_us()
        self._admit_held(now)
        self._close_books(now)

    def _claim(self, now: int) -> int:
        ctx, manners = self.ctx, self.ctx.manners
        room = ctx.limits.fetch_batch - self.in_hand()
        if room <= 0:
            return 0
        due = ctx.frontier.hosts_due(
            after=manners.cursor, limit=HOSTS, run=ctx.run, budgets=ctx.profiles.budgets(), now=now
        )
        manners.cursor = (due[-1].source, due[-1].host) if due else None
        due = [one for one in manners.open_among(due, now) if one.host not in self._held]
        manners.load((origin_of(one.url) for one in due), now)
        pauses = ctx.frontier.host_pauses({one.host for one in due}, now=now)
        wanted: list[Wanted] = []
        shared: list[Place] = []
        for one in due:
            profile = ctx.profiles.get(one.source)
            count = min(profile.concurrency, room)
            if not count:
                break
            manners.cursor = (one.source, one.host)
            shared.append((one.source, one.host))
            until = pauses[one.host].until if one.host in pauses else 0
            wanted.append(self._wanted(one.url, profile, count, now, until=until))
            room -= wanted[-1].count
        slots = self._heeding(shared, self._admit(wanted), due, now)
        shares = {pair: len(granted) for pair, granted in zip(shared, slots, strict=True) if granted}
        leases = self._lease(shares, now)
        free = {pair: list(granted) for pair, granted in zip(shared, slots, strict=True)}
        for lease in leases:
            slot = free[lease.source, lease.host].pop(0)
            self._place(Job(ctx.profiles.get(lease.source), lease.url, lease), now, slot)
        self._unused(chain.from_iterable(free.values()))
        return len(leases)

    def _heeding(
        self, shared: Sequence[Place], slots: Sequence[tuple[Slot, ...]], due: Sequence[HostDue], now: int
    ) -> list[tuple[Slot, ...]]:
        """Return the slots but those of hosts whose robots.txt is known by now: their pace may be another one."""
        manners = self.ctx.manners
        unread = {one.host: origin_of(one.url) for one in due if manners.known(origin_of(one.url), now) is None}
        granted = {host for (_, host), some in zip(shared, slots, strict=True) if some}
        manners.load({unread[host] for host in granted & unread.keys()}, now)
        late = {host for host in granted & unread.keys() if manners.known(unread[host], now) is not None}
        for (_, host), some in zip(shared, slots, strict=True):
            if host in late:
                self._unused(some)
        return [() if host in late else some for (_, host), some in zip(shared, slots, strict=True)]

    def _lease(self, shares: Mapping[Place, int], now: int) -> list[ItemLease]:
        if not shares:
            return []
        ctx = self.ctx
        return ctx.frontier.claim_items(
            shares=shares,
            budgets=ctx.profiles.budgets(),
            run=ctx.run,
            lease_us=ctx.limits.fetch_lease_us,
            now=now,
        )

    def _wanted(self, url: str, profile: SourceProfile, count: int, now: int, *, until: int = 0) -> Wanted:
        """Return what to ask the gate for; of a host whose robots.txt is not known, that is for one process to read."""
        origin, manners = origin_of(url), self.ctx.manners
        delay_us = manners.delay_us(origin, round(profile.delay_seconds * 1_000_000))
        most = 1 if manners.known(origin, now) is None else profile.concurrency
        return Wanted(host_of(url) or "", min(count, most), delay_us, most, until)

    def _admit(self, wanted: Sequence[Wanted]) -> list[tuple[Slot, ...]]:
        """Ask the gate; remember which hosts need not be asked again for a while."""
        if not wanted:
            return []
        grants = self.ctx.gate.admit(wanted, horizon_us=HORIZON_US)
        for grant in grants:
            if grant.again_at and grant.reason != "concurrency":  # that may end at any moment, and by us
                self.ctx.manners.close(grant.host, grant.again_at)
        return [grant.slots for grant in grants]

    def _admit_held(self, now: int) -> None:
        """Begin what waits for its host's next slot; give back what would have to wait for long."""
        self._read_anew(now)
        hosts = [host for host, jobs in self._held.items() if jobs]
        wanted = [self._wanted_of(jobs, now) for jobs in map(self._held.__getitem__, hosts)]
        for host, slots in zip(hosts, self._admit(wanted), strict=True):
            jobs = self._held[host]
            for slot in slots:
                self._place(jobs.popleft(), now, slot)
            for job in [one for one in jobs if self._too_long(one, now)]:
                jobs.remove(job)
                self._put_back([job], self._too_long(job, now))
        self._held = defaultdict(deque, {host: jobs for host, jobs in self._held.items() if jobs})

    def _read_anew(self, now: int) -> None:
        """Go on with what waits for a robots.txt that another process has read meanwhile."""
        asking = [job for jobs in self._held.values() for job in jobs if job.lease is None]
        self.ctx.manners.load((job.origin for job in asking), now)
        for job in asking:
            if self.ctx.manners.known(job.origin, now) is not None:
                self._held[job.host].remove(job)
                for waiting in self._unread.pop(job.origin, ()):
                    self._place(waiting, now)

    def _too_long(self, job: Job, now: int) -> int:
        """Return until when to give back what waits for a slot of its host; 0: it may still wait.

        Who was led on, or needs a robots.txt for that, would begin anew each time, and never get through.
        """
        most = HELD_ON_THE_WAY_US if job.hops or job.lease is None else HELD_US
        opens_at = self.ctx.manners.opens(job.host)
        if opens_at > now + most:
            return opens_at
        return now + most if now - job.held_since > most else 0

    def _wanted_of(self, jobs: Sequence[Job], now: int) -> Wanted:
        return self._wanted(jobs[0].url, jobs[0].profile, len(jobs), now)

    def _put_back(self, jobs: Iterable[Job], until: int) -> None:
        """Give items back; with a robots.txt, all that wait for it, as somebody will ask for it again."""
        for job in jobs:
            if job.lease is None:
                self._put_back(self._unread.pop(job.origin, ()), until)
            else:
                self._ends.append(ItemPostponed(job.lease, until))

    # --- one job's way --------------------------------------------------------------------------------------------

    def _place(self, job: Job, now: int, slot: Slot | None = None) -> None:
        """Do with a URL what may be done: ask for it in this slot, or have it wait, or end it."""
        refused = self._refusal(job)
        if refused is not None:
            self._unused([slot])
            self._end(job, refused, now)
            return
        origin = origin_of(job.url)
        known = None if job.lease is None else self.ctx.manners.known(origin, now)
        if job.lease is not None and known is None:
            self._ask_for_rules(job, origin, now, slot)
        elif known is not None and known.state == "unavailable":
            self._unused([slot])
            self._put_back([job], known.expires_at)
        elif known is not None and not self.ctx.manners.allows(origin, job.url):
            self._unused([slot])
            self._end(job, Disallowed(f"robots.txt of {origin} does not allow it", url=job.url, status=None), now)
        elif slot is None:
            job.held_since = now
            self._held[job.host].append(job)
        else:
            self._begin(job, slot)

    def _ask_for_rules(self, job: Job, origin: str, now: int, slot: Slot | None) -> None:
        asked_for = origin in self._unread
        self._unread[origin].append(job)
        if asked_for:
            self._unused([slot])
        else:
            self._place(Job(job.profile, f"{origin}/robots.txt", origin=origin), now, slot)

    def _refusal(self, job: Job) -> PenstockError | None:
        """Return why a source may not ask for a URL at all."""
        if len(job.hops) > REDIRECTS:
            return HttpError(f"more than {REDIRECTS} redirects", status=None, url=job.url)
        try:
            target(job.url, self._hosts(job))
        except Unsafe as error:
            return error
        return None

    def _hosts(self, job: Job) -> tuple[str, ...]:
        """Return the hosts that may be asked. A robots.txt may be anywhere, as its origin says."""
        if job.lease is None:
            return (job.host,)
        return job.profile.hosts or (host_of(job.profile.item_url or job.lease.url) or "",)

    def _is_own(self, job: Job) -> bool:
        """Tell whether the profile says where this is: a robots.txt that is elsewhere is so as its host likes it."""
        return job.lease is not None or job.host == host_of(job.origin)

    def _begin(self, job: Job, slot: Slot) -> None:
        job.slot = slot
        self._under_way[slot.token] = job
        lease, profile = job.lease, job.profile
        validators = (lease.etag, lease.last_modified) if lease is not None and not job.hops else (None, None)
        request = Request(
            token=slot.token,
            url=job.url,
            hosts=self._hosts(job),
            private_hosts=profile.allow_private_hosts if self._is_own(job) else (),
            start=slot.start,
            etag=validators[0],
            last_modified=validators[1],
            max_bytes=ROBOTS_BYTES if lease is None else None,
            robots=lease is None,
        )
        self.ctx.fetcher.start([request])

    def _unused(self, slots: Iterable[Slot | None]) -> None:
        self._slot_ends += (SlotEnd(slot, Answered.UNUSED) for slot in slots if slot is not None)

    # --- settling -------------------------------------------------------------------------------------------------

    def settle(self, ended: Sequence[Done]) -> None:
        """Settle requests that ended: push what they brought, note the rest, and go on with what is not at its end."""
        now = self.ctx.clock.now_us()
        jobs = [(self._under_way.pop(one.request.token), one) for one in ended]
        for job, one in jobs:
            if is_rules(job, one.answer):  # before the next slot is to be had, so that nobody asks for them twice
                self._learn(job, one.answer, now)
        self._slot_ends += (slot_end(job, one) for job, one in jobs)
        down = self._report(now)
        pages: list[tuple[Job, Fetched]] = []
        for job, one in jobs:
            answer = one.answer
            if is_rules(job, answer):
                continue
            if isinstance(answer, Redirect):
                self._place(moved(job, answer), now)
            elif isinstance(answer, Fetched):
                pages.append((job, answer))
            else:
                self._end(job, answer, now, host_down=job.host in down)
        if self.ctx.archive is not None:
            self.ctx.archive.keep([answer for _, answer in pages])
        for portion in portions(pages):
            self._push(portion, now)
        self._close_books(now)

    def _learn(self, job: Job, answer: Answer, now: int) -> None:
        """Note an origin's robots.txt, and go on with who waited for it."""
        waiting = self._unread.pop(job.origin, ())
        if says_of_host(answer, job):  # as it would have been of the items themselves
            for one in waiting:
                self._end(one, answer, now, host_down=not isinstance(answer, Unsafe))
            return
        row = self.ctx.manners.learn(job.origin, answer, now)
        if row.state == "unavailable":
            self._pause([HostPause(host_of(row.origin) or "", row.expires_at, "robots")], now)
        for one in waiting:
            self._place(one, now)

    def _push(self, pages: Sequence[tuple[Job, Fetched]], now: int) -> None:
        """Push first, then note it: a crash in between pushes twice, which is harmless; the other way loses pages."""
        try:
            entries = self.ctx.stream.push([payload_of(job, answer) for job, answer in pages])
        except PenstockError as error:
            if isinstance(error, Transient) and not isinstance(error, StreamFull | SourcePaused):
                raise
            if len(pages) > 1:  # one of them may be the reason
                for one in pages:
                    self._push([one], now)
            elif isinstance(error, Transient):
                self._put_back([pages[0][0]], now + FULL_US)
            else:
                self._end(pages[0][0], error, now)
            return
        for (job, _), entry in zip(pages, entries, strict=True):
            lease = lease_of(job)
            self._ends.append(ItemPushed(lease, entry))
            log.info(Event.ITEM_FETCHED, source=lease.source, item=lease.item_key, depth=lease.depth, entry=entry)

    def _end(self, job: Job, answer: NotModified | Exception, now: int, *, host_down: bool = False) -> None:
        """Note how an item ended that brought no page; of a robots.txt, that it cannot be had."""
        if job.lease is None:
            self._learn(job, answer, now)
        elif isinstance(answer, NotModified):
            recrawl = recrawl_of_lease(job.lease, job.profile)
            self._ends.append(ItemUnchanged(job.lease, answer.etag, answer.last_modified, recrawl))
        else:
            failure = self._failure(job, answer, now, host_down=host_down)
            recrawls = recrawl_of_lease(job.lease, job.profile) is not None
            self._ends.append(ItemFailed(job.lease, failure, recrawls))

    def _failure(self, job: Job, answer: Exception, now: int, *, host_down: bool) -> FetchFailure:
        lease = lease_of(job)
        if isinstance(answer, PenstockError):
            error = answer
        else:  # a fault of ours, which must not harm the rest
            log.error(Event.TASK_FAULT, source=lease.source, item=lease.item_key, exc_info=answer)
            error = HttpError(f"the fetch failed unexpectedly: {type(answer).__name__}: {answer}")
        return failure_of(self.ctx, lease, error, now, host_down=host_down)

    # --- the books ------------------------------------------------------------------------------------------------

    def _report(self, now: int) -> set[str]:
        """Give slots back to the gate; return the hosts that are found to be down."""
        ended, self._slot_ends = self._slot_ends, []
        pauses = self.ctx.gate.report(ended) if ended else []
        self._pause(pauses, now)
        return {one.host for one in pauses if one.reason == "down"}

    def _pause(self, pauses: Sequence[HostPause], now: int) -> None:
        if pauses:
            self.ctx.frontier.pause_hosts(pauses, now=now)
        for one in pauses:
            self.ctx.manners.close(one.host, one.until)
            log.warning(Event.HOST_PAUSED, host=one.host, reason=one.reason, until=one.until)

    def _close_books(self, now: int) -> None:
        """Write what has been noted."""
        self._report(now)
        ends, self._ends = self._ends, []
        if not ends:
            return
        states = self.ctx.frontier.settle_items(ends, worker=self.ctx.worker, now=now)
        for end, state in zip(ends, states, strict=True):
            self.done[name_of(end, state)] += 1
            if isinstance(end, ItemFailed):
                self._tell(end, state)

    def _tell(self, end: ItemFailed, state: ItemState | None) -> None:
        lease, failure = end.lease, end.failure
        ids = {"source": lease.source, "item": lease.item_key, "url": lease.url}
        log.warning(
            Event.ITEM_FETCH_FAILED,
            error_class=failure.error_class,
            message=failure.message,
            attempts=lease.attempts + failure.counts,
            state=str(state),
            **ids,
        )
        if failure.retry_at is None and failure.error_class not in {Gone.__name__, Disallowed.__name__}:
            self.ctx.report(failure.error_class, failure.message, fingerprint=failure.fingerprint, **ids)

    def let_go(self) -> None:
        """Give back all that is in hand; what was asked for and has no answer yet is asked for again."""
        self.ctx.fetcher.cancel()
        self.ctx.fetcher.ended(0)
        now = self.ctx.clock.now_us()
        jobs = [*self._under_way.values(), *chain.from_iterable(self._held.values())]
        jobs += chain.from_iterable(self._unread.values())
        slots = [job.slot for job in self._under_way.values() if job.slot is not None]
        self._slot_ends += (SlotEnd(one, Answered.CANCELLED if one.start <= now else Answered.UNUSED) for one in slots)
        self._under_way.clear()
        self._held.clear()
        self._unread.clear()
        self._put_back((job for job in jobs if job.lease is not None), now)
        self._close_books(now)
