//! Looking: status, logs, events, the ledger's verdict, what the machine lacks.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use api_types::{Event, Finding};
use base::{Class, Problem, Timestamp, units::Span};
use client::Client;
use delivery_api::Health;
use futures_util::StreamExt;

use crate::{
    NOT_AS_IT_SHOULD_BE,
    args::{Audit, Events, Global, Logs, Status},
    failed, json, print_json, render,
};

/// Events of one page while following.
const PAGE: u64 = 200;

/// Exit status 0 when everything is healthy or stopped, [`NOT_AS_IT_SHOULD_BE`] otherwise.
pub(crate) async fn status(client: &Client, global: &Global, args: Status) -> Result<ExitCode, Problem> {
    loop {
        let healthy = match &args.service {
            Some(name) => {
                let detail = client.get_service(name).await.map_err(failed)?;
                if json(global) {
                    print_json(&detail)
                } else {
                    println!("{}", render::service(&detail))
                }
                matches!(detail.service.health, Health::Healthy | Health::Stopped)
            }
            None => {
                let services = client.get_services().await.map_err(failed)?;
                if json(global) {
                    print_json(&services)
                } else {
                    print!("{}", render::services(&services))
                }
                services.iter().all(|service| matches!(service.health, Health::Healthy | Health::Stopped))
            }
        };
        if !args.watch {
            return Ok(verdict(healthy));
        }
        let mut changes = client.get_stream().await.map_err(failed)?;
        let _ = changes.next().await; // Says that it listens.
        if changes.next().await.is_none() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if std::io::stdout().is_terminal() {
            print!("\x1b[2J\x1b[H");
        }
    }
}

pub(crate) async fn logs(client: &Client, global: &Global, args: Logs) -> Result<(), Problem> {
    let since = args.since.as_deref().map(moment).transpose()?;
    let show = |line: &api_types::LogLine| {
        if json(global) {
            print_json(line);
        } else {
            let replica = &line.replica[line.replica.len().saturating_sub(8)..];
            let mark = if line.stream == "stderr" { "!" } else { " " };
            println!("{} {replica}{mark} {}", line.at, line.text);
        }
    };
    if !args.follow {
        let lines = client
            .get_service_logs(&args.service, Some(args.tail), since, args.contains, args.replica, args.job)
            .await
            .map_err(failed)?;
        lines.iter().for_each(show);
        return Ok(());
    }
    let mut lines = client
        .get_service_logs_stream(&args.service, Some(args.tail), since, args.contains, args.replica, args.job)
        .await
        .map_err(failed)?;
    while let Some(line) = lines.next().await {
        show(&line.map_err(failed)?);
    }
    Ok(())
}

/// A time as RFC 3339, or a span before now.
fn moment(text: &str) -> Result<String, Problem> {
    if let Ok(span) = text.parse::<Span>() {
        let now = base::time::SystemClock::new();
        let back = i64::try_from(span.get().as_nanos()).unwrap_or(i64::MAX);
        return Ok(Timestamp::from_nanos(base::Clock::now(&now).nanos().saturating_sub(back)).to_string());
    }
    text.parse::<Timestamp>().map(|time| time.to_string()).map_err(|error| {
        Problem::new(Class::Invalid, "cli.since", error.to_string()).with_hint("10m, or 2026-01-02T03:04:05Z")
    })
}

pub(crate) async fn events(client: &Client, global: &Global, args: Events) -> Result<(), Problem> {
    let subject = match &args.subject {
        Some(name) if !name.contains('_') && !name.contains('/') => {
            Some(client.get_service(name).await.map_err(failed)?.service.id)
        }
        other => other.clone(),
    };
    let from = args.since.as_deref().map(moment).transpose()?;
    let to = args.until.as_deref().map(moment).transpose()?;
    if args.export {
        let mut lines = client
            .get_events_export(
                subject,
                args.kind,
                args.actor,
                None,
                from,
                to,
                None,
                None,
                None,
                Some(args.all),
            )
            .await
            .map_err(failed)?;
        while let Some(line) = lines.next().await {
            println!("{}", line.map_err(failed)?);
        }
        return Ok(());
    }
    let page = |after: Option<u64>, descending: bool, limit: u64| {
        let (subject, kind, actor) = (subject.clone(), args.kind.clone(), args.actor.clone());
        let (from, to, all) = (from.clone(), to.clone(), Some(args.all));
        async move {
            client
                .get_events(subject, kind, actor, None, from, to, after, Some(limit), Some(descending), all)
                .await
                .map_err(failed)
        }
    };
    let mut first = page(None, true, args.limit).await?.items;
    first.reverse();
    let mut last = first.last().map_or(0, |event| event.seq);
    first.iter().for_each(|event| show(event, global));
    if !args.follow {
        if first.is_empty() && !json(global) {
            eprintln!("nothing yet");
        }
        return Ok(());
    }
    let mut changes = client.get_stream().await.map_err(failed)?;
    while let Some(change) = changes.next().await {
        change.map_err(failed)?;
        loop {
            let new = page(Some(last), false, PAGE).await?.items;
            new.iter().for_each(|event| show(event, global));
            match new.last() {
                Some(event) => last = event.seq,
                None => break,
            }
        }
    }
    Ok(())
}

fn show(event: &Event, global: &Global) {
    if json(global) {
        print_json(event);
        return;
    }
    let cause = event.causation.as_ref().map(|id| format!("  <- {}", &id[id.len().saturating_sub(8)..]));
    let id = &event.id[event.id.len().saturating_sub(8)..];
    println!(
        "{} {id} {:28} {}  by {}{}",
        event.at,
        event.kind,
        event.why,
        event.actor,
        cause.unwrap_or_default()
    );
}

/// Exit status 1 when the ledger is not as it was written.
pub(crate) async fn audit(client: &Client, global: &Global, _: Audit) -> Result<ExitCode, Problem> {
    let verdict = client.get_events_verify().await.map_err(failed)?;
    if json(global) {
        print_json(&verdict);
    } else {
        let word = if verdict.intact { "intact" } else { "NOT intact" };
        println!("ledger: {word}, {} entries", verdict.entries);
        for finding in &verdict.findings {
            println!("  {finding}");
        }
        if !verdict.tail_proven {
            println!("  tail not provable: no signed checkpoint outside the data directory covers it");
        }
    }
    Ok(if verdict.intact { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Exit status [`NOT_AS_IT_SHOULD_BE`] when something is missing.
pub(crate) fn doctor(global: &Global, findings: Vec<Finding>) -> Result<ExitCode, Problem> {
    let missing = findings.iter().any(|finding| finding.state == "missing");
    if json(global) {
        print_json(&findings);
    } else {
        for finding in &findings {
            println!("{:9} {}: {}", finding.state, finding.name, finding.message);
            if let Some(hint) = &finding.hint {
                println!("          hint: {hint}");
            }
        }
    }
    Ok(verdict(!missing))
}

fn verdict(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::from(NOT_AS_IT_SHOULD_BE) }
}
