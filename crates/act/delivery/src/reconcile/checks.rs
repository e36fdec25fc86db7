//! Which checks a replica gets, and what their results mean.

use std::{net::SocketAddr, time::Duration};

use service_file::model::{Check, Probe as Asked, Run};

use super::live::{CheckLive, Definition, ReplicaLive, Role};
use crate::{
    need::Need,
    probe::{Failed, Probe},
};

/// While a replica has not been ready, it is asked this often, so that it serves soon.
const STARTING_INTERVAL: Duration = Duration::from_millis(100);

/// Sets up the checks of a replica. `adopted_ready`: an earlier control had it in its routes, so it
/// counts as ready until a check says otherwise.
pub(crate) fn set_up(
    replica: &mut ReplicaLive,
    definition: &Definition,
    adopted_ready: bool,
    port: Option<u16>,
) {
    let mut checks = match definition {
        Definition::Service(service) => match &service.run {
            Some(run) => of_service(run, replica),
            None => Vec::new(),
        },
        Definition::Need(need) => of_need(need, port),
    };
    for check in &mut checks {
        check.ok = adopted_ready || check.role == Role::Liveness;
        check.ever_ok = adopted_ready;
    }
    replica.checks = checks;
}

fn of_service(run: &Run, replica: &ReplicaLive) -> Vec<CheckLive> {
    let mut checks = Vec::new();
    let default_readiness = run.ports.contains_key(Run::PORT_MAIN).then(|| Asked::tcp(Run::PORT_MAIN));
    let asked = [
        (Role::Startup, run.health.startup.clone()),
        (Role::Readiness, run.health.readiness.clone().or(default_readiness)),
        (Role::Liveness, run.health.liveness.clone()),
    ];
    for (role, asked) in asked {
        let Some(asked) = asked else { continue };
        if let Some(probe) = probe_of(&asked.check, replica) {
            checks.push(CheckLive {
                role,
                probe,
                interval: asked.interval.get(),
                timeout: asked.timeout.get(),
                start_period: asked.start_period.get(),
                threshold: asked.threshold.max(1),
                success_threshold: asked.success_threshold.max(1),
                failures: 0,
                successes: 0,
                ok: false,
                ever_ok: false,
                message: None,
                said: None,
                next_at: Duration::ZERO,
                busy: false,
            });
        }
    }
    checks
}

fn probe_of(check: &Check, replica: &ReplicaLive) -> Option<Probe> {
    let address = |port: &str| replica.port(port).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    match check {
        Check::Http { path, port, status } => Some(Probe::Http {
            address: address(port)?,
            path: path.clone(),
            statuses: (status.from, status.to),
        }),
        Check::Tcp { port } => Some(Probe::Tcp { address: address(port)? }),
        Check::Exec(command) => command.argv(|_| None).ok().map(|command| Probe::Exec { command }),
    }
}

fn of_need(need: &Need, port: Option<u16>) -> Vec<CheckLive> {
    let Some(port) = port else { return Vec::new() };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let probe = match need {
        Need::Postgres { .. } => Probe::Postgres { address },
        Need::Redis { .. } => Probe::Redis { address },
    };
    vec![CheckLive {
        role: Role::Readiness,
        probe,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        start_period: Duration::from_secs(120),
        threshold: 3,
        success_threshold: 1,
        failures: 0,
        successes: 0,
        ok: false,
        ever_ok: false,
        message: None,
        said: None,
        next_at: Duration::ZERO,
        busy: false,
    }]
}

impl CheckLive {
    /// Takes one result. True when the check changed its mind.
    pub(crate) fn take(&mut self, result: Result<(), Failed>, age: Duration, now: Duration) -> bool {
        self.busy = false;
        let before = self.ok;
        match result {
            Ok(()) => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                self.message = None;
                self.said = None;
                if !self.ok && (self.successes >= self.success_threshold || !self.ever_ok) {
                    self.ok = true;
                }
                self.ever_ok = true;
            }
            Err(Failed { why, said }) => {
                self.successes = 0;
                self.message = Some(why);
                self.said = said;
                let patient = !self.ever_ok && age < self.start_period;
                if !patient {
                    self.failures = self.failures.saturating_add(1);
                }
                if self.failures >= self.threshold {
                    self.ok = false;
                }
            }
        }
        self.next_at = now + if self.ever_ok { self.interval } else { self.interval.min(STARTING_INTERVAL) };
        before != self.ok
    }

    /// It failed so often that the replica has to go.
    pub(crate) fn is_hopeless(&self) -> bool {
        let never_came_up = !self.ever_ok && self.failures >= self.threshold;
        match self.role {
            Role::Liveness => self.failures >= self.threshold,
            Role::Startup | Role::Readiness => never_came_up,
        }
    }
}

impl ReplicaLive {
    /// The checks that are due, by index. Others wait until the start-up check has succeeded.
    pub(crate) fn due(&self, now: Duration) -> Vec<usize> {
        let holding_back = self.checks.iter().any(|check| check.role == Role::Startup && !check.ever_ok);
        let ready_once =
            self.checks.iter().filter(|check| check.role == Role::Readiness).all(|check| check.ever_ok);
        self.checks
            .iter()
            .enumerate()
            .filter(|(_, check)| !check.busy && check.next_at <= now)
            .filter(|(_, check)| match check.role {
                Role::Startup => !check.ever_ok,
                Role::Readiness => !holding_back,
                Role::Liveness => !holding_back && ready_once,
            })
            .map(|(index, _)| index)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(role: Role) -> CheckLive {
        CheckLive {
            role,
            probe: Probe::Tcp { address: SocketAddr::from(([127, 0, 0, 1], 1)) },
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            start_period: Duration::from_secs(30),
            threshold: 3,
            success_threshold: 2,
            failures: 0,
            successes: 0,
            ok: false,
            ever_ok: false,
            message: None,
            said: None,
            next_at: Duration::ZERO,
            busy: true,
        }
    }

    fn failed() -> Result<(), Failed> {
        Err("refused".to_owned().into())
    }

    #[test]
    fn failures_while_starting_do_not_count() {
        let mut check = check(Role::Readiness);
        let now = Duration::from_secs(100);
        for _ in 0..10 {
            check.take(failed(), Duration::from_secs(1), now);
        }
        assert!(!check.is_hopeless());
        for _ in 0..3 {
            check.take(failed(), Duration::from_secs(31), now);
        }
        assert!(check.is_hopeless());
    }

    #[test]
    fn it_takes_the_threshold_to_fall_and_to_rise() {
        let mut check = check(Role::Readiness);
        let (age, now) = (Duration::from_secs(60), Duration::from_secs(100));
        assert!(check.take(Ok(()), age, now) && check.ok);
        assert_eq!(check.next_at, now + Duration::from_secs(2));
        assert!(!check.take(failed(), age, now) && !check.take(failed(), age, now));
        assert!(check.take(failed(), age, now) && !check.ok);
        assert!(!check.is_hopeless(), "readiness that was good once never kills");
        assert!(!check.take(Ok(()), age, now) && check.take(Ok(()), age, now));
    }

    #[test]
    fn liveness_that_fails_replaces_the_replica() {
        let mut check = check(Role::Liveness);
        for _ in 0..3 {
            check.take(failed(), Duration::from_secs(60), Duration::ZERO);
        }
        assert!(check.is_hopeless());
    }
}
