//! Cron schedules: five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.

use super::{Context, Keys, shorten};
use crate::{model::Schedule, yaml::Node};

pub(crate) static SCHEDULE: Keys = Keys::only(&["cron", "zone"]);

const FIELDS: [(&str, u32, u32, &[&str]); 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of month", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of week", 0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];
const SHORT: &[(&str, &str)] = &[
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

pub(crate) fn schedule(cx: &mut Context<'_>, node: &Node, what: &str) -> Option<Schedule> {
    if node.text().is_some() {
        return Some(Schedule { cron: cron(cx, node, what)?, zone: "UTC".into() });
    }
    let fields = cx.fields(node, what, &SCHEDULE)?;
    let cron_at = format!("{what}.cron");
    let cron = match fields.get("cron") {
        Some(node) => cron(cx, node, &cron_at),
        None => {
            cx.error_hint(node.range, format!("`{what}` has no `cron`"), "such as `cron: \"0 3 * * *\"`");
            None
        }
    };
    let zone = match fields.get("zone") {
        Some(node) => {
            let text = cx.text(node, &format!("{what}.zone"))?;
            let good = text.len() <= 64
                && text.starts_with(|c: char| c.is_ascii_uppercase())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
            if !good {
                let message = format!("`{}` is no time zone", shorten(&text));
                cx.error_hint(node.range, message, "an IANA name such as `Europe/Berlin` or `UTC`");
                return None;
            }
            text
        }
        None => "UTC".into(),
    };
    Some(Schedule { cron: cron?, zone })
}

fn cron(cx: &mut Context<'_>, node: &Node, what: &str) -> Option<String> {
    let text = cx.text(node, what)?;
    match normalise(&text) {
        Ok(cron) => Some(cron),
        Err((part, message)) => {
            let at = cx.find(node.range, &part);
            cx.error_hint(
                at,
                format!("`{what}`: {message}"),
                "five fields: minute, hour, day of month, month, day of week, such as `30 3 * * mon-fri`",
            );
            None
        }
    }
}

/// Five fields separated by single spaces, in lower case. Else the part that is wrong, and why.
fn normalise(text: &str) -> Result<String, (String, String)> {
    let lower = text.trim().to_lowercase();
    if let Some((_, cron)) = SHORT.iter().find(|(short, _)| *short == lower) {
        return Ok((*cron).to_owned());
    }
    let fields: Vec<&str> = lower.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err((text.to_owned(), format!("a schedule has five fields, this has {}", fields.len())));
    }
    for (field, (name, min, max, words)) in fields.iter().zip(FIELDS) {
        for part in field.split(',') {
            if !is_part(part, min, max, words) {
                return Err((part.to_owned(), format!("`{}` is no {name} ({min} to {max})", shorten(part))));
            }
        }
    }
    Ok(fields.join(" "))
}

/// `*`, `5`, `1-5`, `mon`, each with `/2` where it is a range.
fn is_part(part: &str, min: u32, max: u32, words: &[&str]) -> bool {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    if step.is_some_and(|step| step.parse::<u32>().ok().is_none_or(|step| step == 0 || step > max)) {
        return false;
    }
    let value = |text: &str| match words.iter().position(|word| *word == text) {
        Some(at) => u32::try_from(at).ok().map(|at| at + min),
        None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        None => None,
    };
    let within = |text: &str| value(text).filter(|value| (min..=max).contains(value));
    match range.split_once('-') {
        _ if range == "*" => true,
        Some((from, to)) => within(from).zip(within(to)).is_some_and(|(from, to)| from <= to),
        None => within(range).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_texts() {
        for (text, want) in [
            ("*/5 * * * *", "*/5 * * * *"),
            ("0  3 * * Mon-Fri", "0 3 * * mon-fri"),
            ("@daily", "0 0 * * *"),
            ("0,30 1-5/2 1 jan,jul 7", "0,30 1-5/2 1 jan,jul 7"),
        ] {
            assert_eq!(normalise(text).as_deref(), Ok(want), "{text}");
        }
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "1- * * * *",
            "* * * * * *",
        ] {
            assert!(normalise(bad).is_err(), "{bad}");
        }
    }
}
