//! Schedules: which planned times are due, and which missed ones still count. Pure.

pub(crate) mod cron;

use std::time::Duration;

use base::{Timestamp, id::FlowId};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use self::cron::Cron;
use crate::{Error, Result, definition::Definition};

/// Starts a flow at planned times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Unique in its scope.
    pub name: String,
    pub when: When,
    #[serde(default)]
    pub missed: Missed,
    #[serde(default)]
    pub overlap: Overlap,
    #[serde(default = "yes")]
    pub enabled: bool,
    pub definition: Definition,
}

fn yes() -> bool {
    true
}

/// When it is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Five cron fields (minute, hour, day of month, month, day of week) or `@daily` and the like, as
    /// wall time in an IANA zone. A time that a change of the zone's offset leaves out moves to after the
    /// gap; one that occurs twice counts the first time.
    Cron { expression: String, zone: String },
    /// At this interval from the moment the schedule was made; at least a second.
    EveryMs(u64),
}

/// What to do with planned times that passed while nobody could start them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// They are left out.
    Skip,
    /// The latest is made up for.
    #[default]
    Latest,
    /// The latest so many are made up for, in order.
    All { runs_max: u32 },
}

/// What to do when the flow of the planned time before is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The planned time is left out.
    #[default]
    Skip,
    Allow,
}

/// A schedule with where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleStatus {
    pub schedule: Schedule,
    /// Intervals count from here.
    pub since: Timestamp,
    /// The last planned time that was dealt with.
    #[serde(default)]
    pub planned_at: Option<Timestamp>,
    #[serde(default)]
    pub last_flow: Option<FlowId>,
}

/// Later than this after its planned time, a start counts as missed.
pub(crate) const ON_TIME: Duration = Duration::from_secs(60);
/// Shortest interval.
pub(crate) const EVERY_MS_MIN: u64 = 1_000;
/// Planned times looked at in one go; beyond, only the last day counts.
const LOOKED_AT_MAX: usize = 10_000;
/// Most runs that a schedule makes up for.
pub(crate) const MAKE_UP_MAX: u32 = 100;

/// A schedule that parsed.
#[derive(Debug)]
pub(crate) struct Plan {
    rule: Rule,
    missed: Missed,
    since: Timestamp,
}

#[derive(Debug)]
enum Rule {
    Cron(Cron, TimeZone),
    Every(i64),
}

impl Plan {
    pub(crate) fn of(schedule: &Schedule, since: Timestamp) -> Result<Self> {
        let wrong = |why: String| Error::Schedule { name: schedule.name.clone(), why };
        let rule = match &schedule.when {
            When::Cron { expression, zone } => {
                let cron = Cron::parse(expression).map_err(wrong)?;
                let zone = TimeZone::get(zone).map_err(|_| wrong(format!("{zone:?} is no time zone")))?;
                Rule::Cron(cron, zone)
            }
            When::EveryMs(ms) if *ms < EVERY_MS_MIN => {
                return Err(wrong(format!("{ms} ms is shorter than {EVERY_MS_MIN} ms")));
            }
            When::EveryMs(ms) => {
                let nanos = i64::try_from(*ms).ok().and_then(|ms| ms.checked_mul(1_000_000));
                Rule::Every(nanos.ok_or_else(|| wrong(format!("{ms} ms is too long")))?)
            }
        };
        Ok(Self { rule, missed: schedule.missed, since })
    }

    /// The first planned time after `after`.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron(cron, zone) => cron.next(after, zone),
            Rule::Every(nanos) => {
                let passed = after.nanos().saturating_sub(self.since.nanos());
                let nth = if passed < 0 { 1 } else { passed / nanos + 1 };
                let at = nth.checked_mul(*nanos)?.checked_add(self.since.nanos())?;
                Some(Timestamp::from_nanos(at))
            }
        }
    }

    /// The planned times to start now, oldest first, and the last planned time that is dealt with by
    /// that. None when nothing is due.
    pub(crate) fn due(&self, dealt_with: Timestamp, now: Timestamp) -> Option<(Vec<Timestamp>, Timestamp)> {
        let keep = match self.missed {
            Missed::Skip | Missed::Latest => 1,
            Missed::All { runs_max } => runs_max.clamp(1, MAKE_UP_MAX) as usize,
        };
        let mut due = std::collections::VecDeque::new();
        let mut after = dealt_with;
        if let Rule::Every(nanos) = self.rule {
            // Straight to the last few, however long it has been.
            let few = nanos.saturating_mul(i64::try_from(keep).unwrap_or(i64::MAX).saturating_add(1));
            after = after.max(Timestamp::from_nanos(now.nanos().saturating_sub(few)));
        }
        let mut looked_at = 0;
        while let Some(at) = self.next(after).filter(|at| *at <= now) {
            due.push_back(at);
            if due.len() > keep {
                due.pop_front();
            }
            after = at;
            looked_at += 1;
            if looked_at == LOOKED_AT_MAX {
                after = after.max(Timestamp::from_nanos(now.nanos().saturating_sub(DAY_NANOS)));
            }
        }
        let last = *due.back()?;
        if self.missed == Missed::Skip {
            due.retain(|at| now.since(*at) <= ON_TIME);
        }
        Some((due.into(), last))
    }
}

const DAY_NANOS: i64 = 86_400_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(when: When, missed: Missed) -> Plan {
        let definition = Definition { name: "d".into(), steps: Vec::new() };
        let schedule =
            Schedule { name: "s".into(), when, missed, overlap: Overlap::Skip, enabled: true, definition };
        Plan::of(&schedule, Timestamp::from_millis(0)).unwrap()
    }
    fn minutes(count: i64) -> Timestamp {
        Timestamp::from_millis(count * 60_000)
    }

    #[test]
    fn missed_times_by_policy() {
        let hourly = || When::EveryMs(3_600_000);
        let (last, now) = (minutes(60), minutes(60 * 5 + 10)); // 2:00 to 5:00 passed, all over a minute ago
        for (missed, expected) in [
            (Missed::Skip, vec![]),
            (Missed::Latest, vec![300]),
            (Missed::All { runs_max: 3 }, vec![180, 240, 300]),
            (Missed::All { runs_max: 50 }, vec![120, 180, 240, 300]),
        ] {
            let (due, dealt_with) = plan(hourly(), missed).due(last, now).unwrap();
            assert_eq!(due, expected.into_iter().map(minutes).collect::<Vec<_>>(), "{missed:?}");
            assert_eq!(dealt_with, minutes(300));
        }
        let on_time = plan(hourly(), Missed::Skip).due(last, minutes(120)).unwrap();
        assert_eq!(on_time, (vec![minutes(120)], minutes(120)));
        assert_eq!(plan(hourly(), Missed::Latest).due(minutes(300), now), None);
    }

    #[test]
    fn years_away_costs_little() {
        let cron = When::Cron { expression: "* * * * *".into(), zone: "UTC".into() };
        let now = minutes(60 * 24 * 365 * 30);
        let (due, _) = plan(cron, Missed::Latest).due(minutes(0), now).unwrap();
        assert_eq!(due, [now]);
        let (due, _) = plan(When::EveryMs(1_000), Missed::Latest).due(minutes(0), now).unwrap();
        assert_eq!(due, [now]);
    }
}
