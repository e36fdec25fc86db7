//! The `jobs` section: commands that run to their end with the service's artifact and bindings.

use std::collections::BTreeMap;

use base::{id::NameId, units::Span};

use super::{Context, Fields, Keys, Rules, run};
use crate::{
    model::{Job, When},
    yaml::{Key, Node},
};

pub(crate) static JOB: Keys = Keys {
    known: &[
        "command",
        "args",
        "when",
        "schedule",
        "environment",
        "working_directory",
        "user",
        "limits",
        "stop",
        "timeout",
        "retries",
    ],
    later: &["image", "after_release", "concurrency"],
    instead: &[
        ("env", "write `environment`"),
        ("cmd", "write `command`"),
        ("cron", "write `schedule`"),
        ("run", "write `command`"),
    ],
};
pub(crate) const WHENS: &[(&str, bool)] = &[("before_release", true), ("manual", false)];

const JOBS_MAX: usize = 100;
/// A job listens on nothing.
const ENVIRONMENT: Rules = Rules { secrets: true, config: true, ports: false };

pub(crate) fn jobs(cx: &mut Context<'_>, node: &Node) -> BTreeMap<NameId, Job> {
    let mut all = BTreeMap::new();
    for (key, node) in cx.entries(node, "jobs", JOBS_MAX) {
        let name = cx.label_of(&key.text, key.range, "jobs");
        let job = job(cx, key, node);
        if let (Some(name), Some(job)) = (name, job) {
            all.insert(name, job);
        }
    }
    all
}

fn job(cx: &mut Context<'_>, key: &Key, node: &Node) -> Option<Job> {
    let what = format!("jobs.{}", super::shorten(&key.text));
    let mut job = Job {
        command: crate::model::Command::Words(Vec::new()),
        when: When::Manual,
        environment: BTreeMap::new(),
        working_directory: None,
        user: None,
        limits: Default::default(),
        stop: Default::default(),
        timeout: Span::from_secs(600),
        retries: 0,
    };
    if node.text().is_some() {
        let rules = Rules { secrets: false, ..ENVIRONMENT };
        job.command = run::command_of(cx, node, &what, rules)?;
        return Some(job);
    }
    if node.is_null() {
        cx.error_hint(key.range, format!("`{what}` has no `command`"), "say what to run");
        return None;
    }
    let fields = cx.fields(node, &what, &JOB)?;
    let command = run::command(cx, &fields, &what, true, false);
    job.when = when(cx, &fields, &what);
    job.environment = run::environment(cx, &fields, &what, ENVIRONMENT);
    job.working_directory = run::working_directory(cx, &fields, &what);
    job.user = run::user(cx, &fields, &what);
    job.limits = run::limits(cx, &fields, &what);
    job.stop = run::stop(cx, &fields, &what);
    if let Some(node) = fields.get("timeout") {
        job.timeout = cx.span_some(node, &format!("{what}.timeout")).unwrap_or(job.timeout);
    }
    if let Some(node) = fields.get("retries") {
        job.retries = cx.int(node, &format!("{what}.retries"), 0..=100).unwrap_or(0);
    }
    job.command = command?;
    Some(job)
}

fn when(cx: &mut Context<'_>, fields: &Fields<'_>, what: &str) -> When {
    if let Some(node) = fields.get("schedule") {
        if let Some(key) = fields.key("when") {
            cx.error_hint(
                key.range,
                format!("`{what}` has both `when` and `schedule`"),
                "a scheduled job can be started by hand too; leave `when` out",
            );
        }
        return match super::schedule::schedule(cx, node, &format!("{what}.schedule")) {
            Some(schedule) => When::Schedule(schedule),
            None => When::Manual,
        };
    }
    match fields.get("when").and_then(|node| cx.word(node, &format!("{what}.when"), WHENS)) {
        Some(true) => When::BeforeRelease,
        _ => When::Manual,
    }
}
