//! What a tenant has spent and what is held for its requests in flight.
//!
//! Check and reservation are one step under one short lock. A reservation dropped before dispatch gives the money back; settled, it is
//! charged to the period that admitted it. Day and month (UTC) are always both counted, so that a changed budget is another comparison.
//! The account stands outside the tenant actor: a crash resets no limit. `tests/model` checks that no schedule holds or charges money twice.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::limits::MinuteWindow;
use super::policy::{BudgetPeriod, Policy};
use crate::money::NanoUsd;
use crate::sync::{Mutex, MutexGuard};

/// What a tenant had spent when its account was opened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Position {
    /// Settled in the current day.
    pub day: NanoUsd,
    /// Settled in the current month.
    pub month: NanoUsd,
}

/// The budget does not cover a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverBudget {
    /// Settled in the period.
    pub spent: NanoUsd,
    /// Held for requests in flight.
    pub held: NanoUsd,
    /// The budget.
    pub limit: NanoUsd,
    /// What the request would need held.
    pub needed: NanoUsd,
    /// When the period ends.
    pub resets_at: Timestamp,
}

/// A limit holds a request back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitReached {
    /// Which: `requests_per_minute`, `tokens_per_minute`, `max_concurrent`.
    pub limit: &'static str,
    /// When to try again.
    pub retry_after: Duration,
}

/// What a limit by the minute still allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The most in a minute.
    pub limit: u64,
    /// What is left of it now.
    pub remaining: u64,
    /// How long until all of it is left, if nothing more is used.
    pub reset: Duration,
}

/// What the tenant's limits by the minute still allow; nothing where it has no such limit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests.
    pub requests: Option<Room>,
    /// Tokens, input and output together.
    pub tokens: Option<Room>,
}

#[derive(Debug, Default)]
struct Books {
    day: Option<Date>,
    spent_day: NanoUsd,
    spent_month: NanoUsd,
    held: NanoUsd,
    in_flight: u64,
    requests: MinuteWindow,
    tokens: MinuteWindow,
}

impl Books {
    /// Opens a new day or month. Periods never go backwards.
    fn turn(&mut self, today: Date) {
        let Some(day) = self.day else {
            self.day = Some(today);
            return;
        };
        if today <= day {
            return;
        }
        self.spent_day = NanoUsd::ZERO;
        if (today.year(), today.month()) != (day.year(), day.month()) {
            self.spent_month = NanoUsd::ZERO;
        }
        self.day = Some(today);
    }

    fn charge(&mut self, admitted: Date, cost: NanoUsd) {
        let Some(day) = self.day else { return };
        if admitted == day {
            self.spent_day += cost;
        }
        if (admitted.year(), admitted.month()) == (day.year(), day.month()) {
            self.spent_month += cost;
        }
    }
}

/// A tenant's account.
#[derive(Debug)]
pub struct Account {
    books: Mutex<Books>,
}

/// What stands in the books at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Settled today.
    pub spent_day: NanoUsd,
    /// Settled this month.
    pub spent_month: NanoUsd,
    /// Held for requests in flight.
    pub held: NanoUsd,
    /// Requests in flight.
    pub in_flight: u64,
}

/// The day (UTC) of an instant.
pub fn day_of(at: Timestamp) -> Date {
    at.to_zoned_datetime(TimeZone::UTC).date()
}

/// When the budget period around `today` ends.
fn end_of(period: BudgetPeriod, today: Date) -> Timestamp {
    let next = match period {
        BudgetPeriod::Day => today.tomorrow(),
        BudgetPeriod::Month => today.last_of_month().tomorrow(),
    };
    let midnight = next.and_then(|day| day.to_zoned_datetime(TimeZone::UTC));
    midnight.map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

impl Account {
    /// Opens an account on the day of `now` with what the ledger says was spent.
    pub fn open(position: Position, now: Timestamp) -> Arc<Self> {
        let books =
            Books { day: Some(day_of(now)), spent_day: position.day, spent_month: position.month, ..Books::default() };
        Arc::new(Self { books: Mutex::new(books) })
    }

    /// Lets a request in, if the tenant's limits do; `tokens` is the estimate that counts until the real number is known.
    ///
    /// # Errors
    /// [`LimitReached`], with the wait after which it will fit.
    pub fn admit(self: &Arc<Self>, policy: &Policy, now: Timestamp, tokens: u64) -> Result<Admission, LimitReached> {
        let second = now.as_second().max(0) as u64;
        let mut books = self.lock();
        if policy.max_concurrent.is_some_and(|most| books.in_flight >= most) {
            return Err(LimitReached { limit: "max_concurrent", retry_after: Duration::from_secs(1) });
        }
        if let Some(wait) = policy.requests_per_minute.and_then(|most| books.requests.wait(second, 1, most)) {
            return Err(LimitReached { limit: "requests_per_minute", retry_after: wait });
        }
        if let Some(wait) = policy.tokens_per_minute.and_then(|most| books.tokens.wait(second, tokens, most)) {
            return Err(LimitReached { limit: "tokens_per_minute", retry_after: wait });
        }
        books.requests.add(second, 1);
        books.tokens.add(second, tokens);
        books.in_flight += 1;
        Ok(Admission { account: self.clone(), counted_tokens: tokens, is_settled: false })
    }

    /// Holds `amount` for an attempt, if the budget covers it beside what is spent and held.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn reserve(
        self: &Arc<Self>,
        policy: &Policy,
        now: Timestamp,
        amount: NanoUsd,
    ) -> Result<Reservation, OverBudget> {
        let today = day_of(now);
        let mut books = self.lock();
        books.turn(today);
        if let Some(limit) = policy.budget_usd {
            let spent = match policy.budget_period {
                BudgetPeriod::Day => books.spent_day,
                BudgetPeriod::Month => books.spent_month,
            };
            if spent + books.held + amount > limit {
                let resets_at = end_of(policy.budget_period, books.day.unwrap_or(today));
                return Err(OverBudget { spent, held: books.held, limit, needed: amount, resets_at });
            }
        }
        books.held += amount;
        let admitted = books.day.unwrap_or(today);
        Ok(Reservation { account: self.clone(), amount, admitted, at: now })
    }

    /// What the limits by the minute still allow.
    pub fn allowance(&self, policy: &Policy, now: Timestamp) -> Allowance {
        if policy.requests_per_minute.is_none() && policy.tokens_per_minute.is_none() {
            return Allowance::default();
        }
        let second = now.as_second().max(0) as u64;
        let mut books = self.lock();
        let room = |window: &mut MinuteWindow, limit: u64| Room {
            limit,
            remaining: limit.saturating_sub(window.used(second)),
            reset: window.reset(second),
        };
        Allowance {
            requests: policy.requests_per_minute.map(|limit| room(&mut books.requests, limit)),
            tokens: policy.tokens_per_minute.map(|limit| room(&mut books.tokens, limit)),
        }
    }

    /// What stands in the books.
    pub fn balance(&self, now: Timestamp) -> Balance {
        let mut books = self.lock();
        books.turn(day_of(now));
        Balance {
            spent_day: books.spent_day,
            spent_month: books.spent_month,
            held: books.held,
            in_flight: books.in_flight,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that was let in: it counts as in flight until dropped. Where it used nothing by then, its tokens are given back.
#[derive(Debug)]
pub struct Admission {
    account: Arc<Account>,
    counted_tokens: u64,
    is_settled: bool,
}

impl Admission {
    /// Corrects the estimated tokens to the real number.
    pub fn used(&mut self, now: Timestamp, tokens: u64) {
        let second = now.as_second().max(0) as u64;
        self.account.lock().tokens.correct(second, self.counted_tokens, tokens);
        self.counted_tokens = tokens;
        self.is_settled = true;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut books = self.account.lock();
        books.in_flight = books.in_flight.saturating_sub(1);
        if !self.is_settled {
            books.tokens.give_back(self.counted_tokens);
        }
    }
}

/// Money held for a request. Dropped, it is given back; settled, it is charged.
#[derive(Debug)]
#[must_use = "a dropped reservation gives the money back"]
pub struct Reservation {
    account: Arc<Account>,
    amount: NanoUsd,
    admitted: Date,
    at: Timestamp,
}

impl Reservation {
    /// What is held.
    pub fn amount(&self) -> NanoUsd {
        self.amount
    }

    /// When it was made: the budget period that the request counts in.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Joins another attempt's reservation to this one: both stay held until the request is settled.
    pub fn join(&mut self, mut other: Self) {
        self.amount += std::mem::take(&mut other.amount);
    }

    /// Charges what the request really cost, which may be more than was held.
    pub fn settle(mut self, cost: NanoUsd) {
        let held = std::mem::take(&mut self.amount);
        let mut books = self.account.lock();
        books.held = books.held.saturating_sub(held);
        books.charge(self.admitted, cost);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.amount != NanoUsd::ZERO {
            let mut books = self.account.lock();
            books.held = books.held.saturating_sub(self.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn budget(limit: i64, period: BudgetPeriod) -> Policy {
        Policy { budget_usd: Some(NanoUsd(limit)), budget_period: period, ..Policy::default() }
    }

    #[test]
    fn a_budget_covers_what_is_spent_and_held() {
        let now = at("2026-11-24T10:00:00Z");
        let account = Account::open(Position { day: NanoUsd(10), month: NanoUsd(40) }, now);
        let policy = budget(100, BudgetPeriod::Month);
        let first = account.reserve(&policy, now, NanoUsd(50)).unwrap();
        let refused = account.reserve(&policy, now, NanoUsd(11)).unwrap_err();
        assert_eq!((refused.spent, refused.held, refused.limit), (NanoUsd(40), NanoUsd(50), NanoUsd(100)));
        assert_eq!(refused.resets_at, at("2026-12-01T00:00:00Z"));
        first.settle(NanoUsd(5));
        let second = account.reserve(&policy, now, NanoUsd(55)).unwrap();
        drop(second);
        let books = account.balance(now);
        assert_eq!((books.spent_day, books.spent_month, books.held), (NanoUsd(15), NanoUsd(45), NanoUsd(0)));
    }

    #[test]
    fn a_reservation_settles_in_the_period_that_admitted_it() {
        let (evening, morning) = (at("2026-11-30T23:59:59Z"), at("2026-12-01T00:00:01Z"));
        let account = Account::open(Position::default(), evening);
        let policy = budget(100, BudgetPeriod::Day);
        let late = account.reserve(&policy, evening, NanoUsd(60)).unwrap();
        let early = account.reserve(&policy, morning, NanoUsd(30)).unwrap();
        late.settle(NanoUsd(60));
        early.settle(NanoUsd(30));
        let books = account.balance(morning);
        assert_eq!((books.spent_day, books.spent_month), (NanoUsd(30), NanoUsd(30)));
        assert_eq!(account.balance(evening).spent_day, NanoUsd(30), "periods never go backwards");
    }

    #[test]
    fn limits_tell_when_to_come_again() {
        let now = at("2026-11-24T10:00:00Z");
        let account = Account::open(Position::default(), now);
        let policy = Policy { requests_per_minute: Some(1), max_concurrent: Some(1), ..Policy::default() };
        let first = account.admit(&policy, now, 10).unwrap();
        assert_eq!(account.admit(&policy, now, 10).unwrap_err().limit, "max_concurrent");
        drop(first);
        let refused = account.admit(&policy, now, 10).unwrap_err();
        assert_eq!(refused, LimitReached { limit: "requests_per_minute", retry_after: Duration::from_secs(60) });
    }

    #[test]
    fn what_is_left_of_the_limits_is_told_and_unused_tokens_come_back() {
        let now = at("2026-11-24T10:00:00Z");
        let account = Account::open(Position::default(), now);
        let policy = Policy { requests_per_minute: Some(10), tokens_per_minute: Some(100), ..Policy::default() };
        let mut used = account.admit(&policy, now, 60).unwrap();
        let unused = account.admit(&policy, now, 30).unwrap();
        let left = |account: &Account| account.allowance(&policy, now).tokens.unwrap().remaining;
        assert_eq!(left(&account), 10);
        drop(unused);
        assert_eq!(left(&account), 40);
        used.used(now, 70);
        drop(used);
        let allowance = account.allowance(&policy, now);
        assert_eq!(allowance.requests, Some(Room { limit: 10, remaining: 8, reset: Duration::from_secs(60) }));
        assert_eq!(allowance.tokens.unwrap().remaining, 30);
        assert_eq!(account.allowance(&Policy::default(), now), Allowance::default());
    }

    proptest! {
        #[test]
        fn no_schedule_exceeds_the_budget_or_leaks_a_hold(steps in proptest::collection::vec((0u8..3, 1i64..60, any::<proptest::sample::Index>()), 0..100)) {
            let now = at("2026-11-24T10:00:00Z");
            let account = Account::open(Position::default(), now);
            let policy = budget(100, BudgetPeriod::Day);
            let mut held = Vec::new();
            for (action, amount, which) in steps {
                match action {
                    0 => held.extend(account.reserve(&policy, now, NanoUsd(amount))),
                    1 if !held.is_empty() => {
                        let reservation: Reservation = held.swap_remove(which.index(held.len()));
                        let cost = NanoUsd(amount.min(reservation.amount().0));
                        reservation.settle(cost);
                    }
                    2 if !held.is_empty() => drop(held.swap_remove(which.index(held.len()))),
                    _ => {}
                }
                let books = account.balance(now);
                prop_assert!(books.spent_day + books.held <= NanoUsd(100));
                prop_assert_eq!(books.held, held.iter().map(Reservation::amount).sum());
            }
            drop(held);
            prop_assert_eq!(account.balance(now).held, NanoUsd::ZERO);
        }
    }
}
