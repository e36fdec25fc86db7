//! What plans, steps and services look like in a terminal.

use std::fmt::Write;

use delivery_api::{
    Action, FieldChange, Health, Plan, ReplicaState, RunStep, Service, ServiceDetail, StepState,
};
use serde_json::Value;

/// Longest value shown in a difference.
const VALUE_CHARS_MAX: usize = 80;

/// A plan as a person reads it.
pub(crate) fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    let source = &plan.source;
    if let Some(commit) = &source.commit {
        let dirty = if source.dirty { " with uncommitted changes" } else { "" };
        let author = source.author.as_deref().unwrap_or("unknown");
        let _ = writeln!(text, "from commit {}{dirty} by {author}\n", &commit[..commit.len().min(12)]);
    }
    for step in plan.steps.iter().filter(|step| step.action != Action::Keep) {
        let _ = writeln!(text, "{} {} {} ({})", sign(step.action), word(step.action), step.subject, step.why);
        // A new thing is its file; only what differs is worth reading.
        if step.action != Action::Create {
            for change in &step.changes {
                let _ = writeln!(text, "    {}", difference(change));
            }
        }
        for warning in &step.warnings {
            let _ = writeln!(text, "    warning: {warning}");
        }
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let summary = plan.summary;
    if plan.changes_nothing() {
        let _ = writeln!(text, "nothing to do: {} as they should be", summary.keep);
    } else {
        let _ = writeln!(
            text,
            "\nplan: {} to create, {} to change, {} to remove, {} as they are\n",
            summary.create,
            summary.change + summary.replace,
            summary.remove,
            summary.keep
        );
    }
    text
}

fn sign(action: Action) -> &'static str {
    match action {
        Action::Create => "+",
        Action::Change => "~",
        Action::Replace => "±",
        Action::Remove => "-",
        Action::Keep => " ",
    }
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Change => "change",
        Action::Replace => "replace",
        Action::Remove => "remove",
        Action::Keep => "keep",
    }
}

fn difference(change: &FieldChange) -> String {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("{}: {} -> {}", change.path, short(before), short(after)),
        (None, Some(after)) => format!("{}: + {}", change.path, short(after)),
        (Some(before), None) => format!("{}: - {}", change.path, short(before)),
        (None, None) => change.path.clone(),
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    let cut: String = text.chars().take(VALUE_CHARS_MAX).collect();
    format!("{cut}…")
}

/// A step as its state changes; none while it only waits.
pub(crate) fn step(step: &RunStep) -> Option<String> {
    let state = match step.state {
        StepState::Waiting => return None,
        StepState::Running => "…",
        StepState::Retrying => "again",
        StepState::Done => "done",
        StepState::Failed => "failed",
        StepState::Undone => "undone",
        StepState::Skipped => "skipped",
        StepState::Parked => "waits for a person",
    };
    let message = step.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    Some(format!("  {} {state}{message}", step.name))
}

/// Services as a table.
pub(crate) fn services(services: &[Service]) -> String {
    if services.is_empty() {
        return "no services yet; `stead up PATH` delivers the ones that PATH describes".into();
    }
    let rows = services
        .iter()
        .map(|service| {
            vec![
                service.name.clone(),
                kind(service).to_owned(),
                health(service.health).to_owned(),
                format!("{}/{}", service.replicas_ready, service.replicas_wanted),
                service.release.as_ref().map(|release| release.number.to_string()).unwrap_or_default(),
                service.url.clone().unwrap_or_default(),
                service.reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(&["NAME", "KIND", "HEALTH", "READY", "RELEASE", "URL", "WHY"], rows)
}

fn kind(service: &Service) -> &'static str {
    match service.kind {
        delivery_api::Kind::Service => "service",
        delivery_api::Kind::Job => "job",
        delivery_api::Kind::Postgres => "postgres",
        delivery_api::Kind::Redis => "redis",
    }
}

pub(crate) fn health(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Starting => "starting",
        Health::Degraded => "degraded",
        Health::Down => "down",
        Health::CrashLoop => "crash loop",
        Health::Stopped => "stopped",
    }
}

/// One service with its replicas and releases.
pub(crate) fn service(detail: &ServiceDetail) -> String {
    let service = &detail.service;
    let mut text = format!("{}  {}", service.name, health(service.health));
    if let Some(reason) = &service.reason {
        let _ = write!(text, ": {reason}");
    }
    text.push('\n');
    for (label, value) in [("description", &service.description), ("owner", &service.owner)] {
        if let Some(value) = value {
            let _ = writeln!(text, "{label}: {value}");
        }
    }
    for endpoint in &detail.endpoints {
        let _ = writeln!(text, "reached by {}: {}", endpoint.audience, endpoint.url);
    }
    for binding in &detail.bindings {
        let _ = writeln!(
            text,
            "needs {} ({}) as {}",
            binding.need,
            binding.target,
            binding.environment.join(", ")
        );
    }
    let replicas = detail
        .replicas
        .iter()
        .map(|replica| {
            let note = replica.exit.as_ref().map(|exit| exit.reason.clone()).or_else(|| {
                replica.checks.iter().find(|check| !check.ok).and_then(|check| check.message.clone())
            });
            vec![
                replica.id.chars().rev().take(8).collect::<Vec<_>>().into_iter().rev().collect(),
                state(replica.state).to_owned(),
                replica.port.map(|port| port.to_string()).unwrap_or_default(),
                format!("{:.2}", replica.cpu_cores),
                format!("{:.0} MiB", replica.memory_bytes as f64 / 1_048_576.0),
                note.unwrap_or_default(),
            ]
        })
        .collect();
    let _ = write!(text, "\n{}\n", table(&["REPLICA", "STATE", "PORT", "CORES", "MEMORY", "NOTE"], replicas));
    for note in
        detail.replicas.iter().flat_map(|replica| &replica.notes).collect::<std::collections::BTreeSet<_>>()
    {
        let _ = writeln!(text, "note: {note}");
    }
    let releases = detail
        .releases
        .iter()
        .take(10)
        .map(|release| {
            let commit = release.source.commit.as_deref().unwrap_or_default();
            let mark = format!("{:?}", release.state).to_lowercase();
            vec![
                release.number.to_string(),
                mark,
                release.created_at.clone(),
                commit.chars().take(12).collect(),
                release.reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let _ = write!(text, "\n{}", table(&["RELEASE", "STATE", "MADE", "COMMIT", "WHY"], releases));
    text
}

fn state(state: ReplicaState) -> &'static str {
    match state {
        ReplicaState::Starting => "starting",
        ReplicaState::Ready => "ready",
        ReplicaState::NotReady => "not ready",
        ReplicaState::Stopping => "stopping",
        ReplicaState::Exited => "exited",
        ReplicaState::Lost => "lost",
    }
}

/// Columns as wide as their widest cell; empty columns at the end are left out.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let used = (0..head.len()).rev().find(|column| rows.iter().any(|row| !row[*column].is_empty()));
    let columns = used.map_or(1, |last| last + 1);
    let mut widths: Vec<usize> = head.iter().take(columns).map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "{cell:width$}  ");
        }
        text.trim_end().to_owned()
    };
    let mut lines = vec![line(head.iter().take(columns).copied().collect())];
    lines.extend(rows.iter().map(|row| line(row.iter().take(columns).map(String::as_str).collect())));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_line_up_and_empty_ones_at_the_end_go() {
        let rows = vec![
            vec!["web".into(), "healthy".into(), String::new()],
            vec!["checkout".into(), "down".into(), String::new()],
        ];
        assert_eq!(
            table(&["NAME", "HEALTH", "WHY"], rows),
            "NAME      HEALTH\nweb       healthy\ncheckout  down\n"
        );
    }
}
