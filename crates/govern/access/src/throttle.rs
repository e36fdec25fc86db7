//! Guessing slows down: each failure doubles the wait, per person and per client address.
//!
//! It lives in memory and runs on monotonic time, so setting the clock helps nobody. The wait per
//! person is short, because whoever knows a name could otherwise lock its owner out.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use base::Tenant;

use crate::{Access, Error, Result, engine::limits, record::PersonId};

/// Attempts without a wait.
const FREE: u32 = 5;
const PERSON_WAIT_MAX: Duration = Duration::from_secs(30);
const ADDRESS_WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Without an attempt for so long, it begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// Whose attempts are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Person(Tenant, PersonId),
    /// IPv6 by /64: who has one address there has them all.
    Address(IpAddr),
    /// All names that nobody has, together.
    Unknown,
}

impl Subject {
    pub(crate) fn person(tenant: &Tenant, id: &PersonId) -> Self {
        Self::Person(tenant.clone(), id.clone())
    }

    pub(crate) fn address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let mut parts = v6.segments();
                parts[4..].fill(0);
                IpAddr::V6(parts.into())
            }
            v4 => v4,
        })
    }

    fn wait_max(&self) -> Duration {
        match self {
            Self::Person(..) => PERSON_WAIT_MAX,
            Self::Address(_) | Self::Unknown => ADDRESS_WAIT_MAX,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Attempts {
    count: u32,
    last: Duration,
}

impl Attempts {
    fn next(self, wait_max: Duration) -> Duration {
        match self.count.checked_sub(FREE) {
            None => self.last,
            Some(over) => self.last + Duration::from_secs(1 << over.min(20)).min(wait_max),
        }
    }
}

/// Attempts by subject. Addresses do not crowd out people: each has a table of its own.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    people: HashMap<Subject, Attempts>,
    addresses: HashMap<Subject, Attempts>,
}

impl Throttle {
    /// Counts an attempt of all `subjects`, before it is known whether it succeeds: attempts at
    /// once count too. Gives the wait when one of them has to wait; then nothing is counted.
    fn begin(&mut self, subjects: &[Subject], now: Duration) -> std::result::Result<(), Duration> {
        let waits = subjects.iter().filter_map(|subject| {
            let attempts = self.table(subject).get(subject)?;
            if now.saturating_sub(attempts.last) >= FORGOTTEN_AFTER {
                return None;
            }
            attempts.next(subject.wait_max()).checked_sub(now).filter(|wait| !wait.is_zero())
        });
        if let Some(wait) = waits.max() {
            return Err(wait);
        }
        for subject in subjects {
            let table = self.table_mut(subject);
            if !table.contains_key(subject) {
                make_room(table, now);
            }
            let attempts = table.entry(subject.clone()).or_insert(Attempts { count: 0, last: now });
            if now.saturating_sub(attempts.last) >= FORGOTTEN_AFTER {
                attempts.count = 0;
            }
            attempts.count = attempts.count.saturating_add(1);
            attempts.last = now;
        }
        Ok(())
    }

    fn succeeded(&mut self, subjects: &[Subject]) {
        for subject in subjects {
            // An address stays: one good account does not buy guesses at the others.
            match subject {
                Subject::Address(_) | Subject::Unknown => {
                    if let Some(attempts) = self.addresses.get_mut(subject) {
                        attempts.count = attempts.count.saturating_sub(1);
                    }
                }
                Subject::Person(..) => drop(self.people.remove(subject)),
            }
        }
    }

    fn table(&self, subject: &Subject) -> &HashMap<Subject, Attempts> {
        if matches!(subject, Subject::Person(..)) { &self.people } else { &self.addresses }
    }

    fn table_mut(&mut self, subject: &Subject) -> &mut HashMap<Subject, Attempts> {
        if matches!(subject, Subject::Person(..)) { &mut self.people } else { &mut self.addresses }
    }
}

/// Drops what is forgotten; if that is not enough, the one with the fewest attempts, longest ago.
fn make_room(table: &mut HashMap<Subject, Attempts>, now: Duration) {
    if table.len() < limits::THROTTLED_MAX {
        return;
    }
    table.retain(|_, attempts| now.saturating_sub(attempts.last) < FORGOTTEN_AFTER);
    if table.len() >= limits::THROTTLED_MAX {
        let least = table.iter().min_by_key(|(_, attempts)| (attempts.count, attempts.last));
        if let Some(subject) = least.map(|(subject, _)| subject.clone()) {
            table.remove(&subject);
        }
    }
}

impl Access {
    pub(crate) fn begin_attempt(&self, subjects: &[Subject]) -> Result<()> {
        let mut throttle = self.throttle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let begun = throttle.begin(subjects, self.clock.monotonic());
        begun.map_err(|retry_after| Error::Throttled { retry_after })
    }

    pub(crate) fn end_attempt(&self, subjects: &[Subject]) {
        self.throttle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).succeeded(subjects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn person() -> Subject {
        Subject::person(&Tenant::default(), &PersonId::new())
    }

    #[test]
    fn waits_double_up_to_their_limit() {
        let (mut throttle, who) = (Throttle::default(), [person()]);
        for _ in 0..FREE {
            throttle.begin(&who, S(0)).unwrap();
        }
        let mut now = S(0);
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(throttle.begin(&who, now), Err(S(wait)));
            assert!(throttle.begin(&who, now + S(wait) - Duration::from_millis(1)).is_err());
            now += S(wait);
            throttle.begin(&who, now).unwrap();
        }
        throttle.begin(&who, now + FORGOTTEN_AFTER).unwrap();
        throttle.begin(&who, now + FORGOTTEN_AFTER).unwrap();
    }

    #[test]
    fn success_frees_the_person_and_not_the_address() {
        let mut throttle = Throttle::default();
        let home = Subject::address("192.0.2.1".parse().unwrap());
        for _ in 0..FREE {
            let mine = person();
            throttle.begin(&[mine.clone(), home.clone()], S(0)).unwrap();
            throttle.begin(std::slice::from_ref(&mine), S(0)).unwrap();
            assert!(throttle.people.contains_key(&mine));
        }
        assert_eq!(throttle.begin(&[person(), home.clone()], S(0)), Err(S(1)));
        let mine = person();
        throttle.begin(&[mine.clone(), home.clone()], S(1)).unwrap();
        throttle.succeeded(&[mine.clone(), home.clone()]);
        assert!(!throttle.people.contains_key(&mine));
        assert!(throttle.begin(&[person(), home], S(1)).is_err());
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let a = |text: &str| Subject::address(text.parse().unwrap());
        assert_eq!(a("2001:db8::1"), a("2001:db8::ffff:2"));
        assert_ne!(a("2001:db8::1"), a("2001:db8:0:1::1"));
        assert_eq!(a("::ffff:192.0.2.1"), a("192.0.2.1"));
        assert_ne!(a("192.0.2.1"), a("192.0.2.2"));
    }

    #[test]
    fn the_table_is_bounded_and_keeps_who_tries_most() {
        let mut throttle = Throttle::default();
        let hot = Subject::address("203.0.113.9".parse().unwrap());
        for _ in 0..FREE {
            throttle.begin(std::slice::from_ref(&hot), S(0)).unwrap();
        }
        for n in 0..limits::THROTTLED_MAX as u32 + 100 {
            throttle.begin(&[Subject::address(IpAddr::V4(n.into()))], S(1)).unwrap();
        }
        assert_eq!(throttle.addresses.len(), limits::THROTTLED_MAX);
        throttle.begin(std::slice::from_ref(&hot), S(1)).unwrap();
        assert!(throttle.begin(&[hot], S(1)).is_err());
        let who = person();
        throttle.begin(std::slice::from_ref(&who), S(1)).unwrap();
        assert!(throttle.people.contains_key(&who));
    }
}
