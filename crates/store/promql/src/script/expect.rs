//! `expect` lines.

use super::{
    Expect, Match, PointTimes,
    command::{Words, time},
};
use crate::literal::unquote;

const FORM: &str =
    "invalid expect line, expected `expect <fail|warn|no_warn|info|no_info|ordered> [msg:|regex:] …`";

pub(super) enum PointTimesLine {
    Yes(PointTimes),
    No,
}

/// `expect range vector from <start> to <end> step <step>`
pub(super) fn point_times(line: &str) -> Result<PointTimesLine, String> {
    let Some(rest) = line.strip_prefix("expect range vector") else {
        return Ok(PointTimesLine::No);
    };
    let mut words = Words { rest };
    let mut named = |name: &str| {
        if words.next() != name {
            return Err(format!("invalid range vector definition {line:?}"));
        }
        time(words.next(), name)
    };
    let (start_ms, end_ms, step_ms) = (named("from")?, named("to")?, named("step")?);
    if end_ms < start_ms {
        return Err("the end timestamp is before the start timestamp".to_owned());
    }
    Ok(PointTimesLine::Yes(PointTimes { start_ms, end_ms, step_ms }))
}

/// What follows `expect string`.
pub(super) fn string_literal(text: &str) -> Result<String, String> {
    let bytes = unquote(text.trim()).map_err(|why| format!("expected string {text} is not quoted: {why}"))?;
    String::from_utf8(bytes).map_err(|_| format!("expected string {text} is no UTF-8"))
}

pub(super) fn regex(pattern: &str) -> Result<Match, String> {
    regex::Regex::new(pattern).map(Match::Regex).map_err(|why| format!("invalid regex {pattern}: {why}"))
}

pub(super) fn apply_expect(line: &str, expect: &mut Expect) -> Result<(), String> {
    let mut words = Words { rest: line };
    words.next();
    let kind = words.next();
    let rest = words.rest.trim();
    let wanted = if rest.is_empty() {
        Match::Any
    } else if let Some(message) = rest.strip_prefix("msg:") {
        Match::Exact(message.trim().to_owned())
    } else if let Some(pattern) = rest.strip_prefix("regex:") {
        regex(pattern.trim())?
    } else {
        return Err(FORM.to_owned());
    };
    match kind {
        "fail" if expect.fail.is_some() => {
            return Err("multiple expect fail lines are not allowed".to_owned());
        }
        "fail" => expect.fail = Some(wanted),
        "warn" => expect.warnings.push(wanted),
        "info" => expect.infos.push(wanted),
        "no_warn" => expect.no_warnings = true,
        "no_info" => expect.no_infos = true,
        "ordered" => expect.ordered = true,
        _ => return Err(FORM.to_owned()),
    }
    if expect.no_warnings && !expect.warnings.is_empty() {
        return Err("warn and no_warn cannot be used together".to_owned());
    }
    if expect.no_infos && !expect.infos.is_empty() {
        return Err("info and no_info cannot be used together".to_owned());
    }
    Ok(())
}
