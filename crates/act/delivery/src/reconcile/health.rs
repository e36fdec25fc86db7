//! Health of a service from its replicas, with the reason in words.

use std::time::Duration;

use base::Timestamp;
use delivery_api::Health;

use super::live::{Definition, Live};
use crate::decide::{CRASH_LOOP_AFTER, Phase};

/// Judges anew; `since` moves when the health changes.
pub(crate) fn judge(live: &mut Live, now: Duration, wall: Timestamp) {
    let (health, reason) = verdict(live, now);
    if health != live.health {
        live.since = wall;
    }
    live.health = health;
    live.reason = reason;
}

fn verdict(live: &Live, now: Duration) -> (Health, Option<String>) {
    let wanted = live.wanted_replicas();
    let serving = live.serving();
    if live.record.removing {
        return (Health::Stopped, Some("is being taken down".into()));
    }
    if live.is_job() {
        return (Health::Stopped, Some(when_a_job_runs(live).into()));
    }
    if wanted == 0 {
        let reason = if live.completed > 0 { "ran to its end" } else { "no replicas are asked for" };
        return (Health::Stopped, Some(reason.into()));
    }
    let trouble = trouble(live, now);
    if live.ready() >= wanted {
        return (Health::Healthy, None);
    }
    if serving > 0 {
        // Old replicas serve while new ones come up.
        if serving >= wanted && live.backoff.failures == 0 {
            return (Health::Healthy, Some("a new release is rolling out".into()));
        }
        let reason = format!("{serving} of {wanted} replicas are ready");
        return (
            Health::Degraded,
            Some(trouble.map_or(reason.clone(), |trouble| format!("{reason}; {trouble}"))),
        );
    }
    if live.backoff.failures >= CRASH_LOOP_AFTER {
        return (Health::CrashLoop, trouble);
    }
    let coming_up = live.blocked.is_some()
        || live.starting > 0
        || live.replicas.values().any(|replica| replica.phase() == Phase::Starting);
    if coming_up && live.backoff.failures == 0 && !live.rolled_out {
        return (Health::Starting, live.blocked.clone().or(trouble));
    }
    (Health::Down, trouble.or_else(|| Some("no replica is ready".into())))
}

/// A service without `run` is a job, and without jobs it stands in the catalogue alone.
fn when_a_job_runs(live: &Live) -> &'static str {
    match &live.definition {
        Some(Definition::Service(service)) if service.run.is_none() && service.jobs.is_empty() => {
            "is described and not run: its file has neither `run` nor `jobs`"
        }
        _ => "runs when asked or on its schedule",
    }
}

/// The latest thing that went wrong, in words.
fn trouble(live: &Live, now: Duration) -> Option<String> {
    if let Some(problem) = &live.start_problem {
        return Some(with_wait(live, now, format!("cannot start: {problem}")));
    }
    let failing = live.replicas.values().flat_map(|replica| &replica.checks).find_map(|check| {
        let message = check.message.as_ref()?;
        (!check.ok).then(|| format!("{} check: {message}", check.role.name()))
    });
    if live.backoff.failures == 0 {
        return failing;
    }
    match live.exits.last() {
        Some((_, exit)) => Some(with_wait(live, now, format!("last replica {}", exit.reason))),
        None => failing,
    }
}

fn with_wait(live: &Live, now: Duration, what: String) -> String {
    let wait = live.backoff.not_before.saturating_sub(now).as_secs();
    if wait > 0 { format!("{what}; next start in {wait}s") } else { what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doubles::delivered;

    #[test]
    fn what_has_nothing_to_run_does_not_say_that_it_runs() {
        for (text, expected) in [
            ("name: known\nowner: somebody\n", "is described and not run"),
            ("name: known\njobs: {tidy: tidy-up}\n", "runs when asked"),
            ("name: known\nrun: {kind: job, command: tidy-up}\n", "runs when asked"),
        ] {
            let (service, record, release) = delivered(text);
            let mut live = Live::new(base::Scope::default(), record, 1, Timestamp::from_millis(0));
            live.release = Some(release.into());
            live.definition = Some(Definition::Service(Box::new(service)));
            judge(&mut live, Duration::ZERO, Timestamp::from_millis(0));
            let reason = live.reason.unwrap_or_default();
            assert!(live.health == Health::Stopped && reason.starts_with(expected), "{text}: {reason}");
        }
    }
}
