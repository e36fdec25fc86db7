//! Commands, line by line.

use super::{
    Command, Eval, Expect, Expected, ExpectedSeries, Load, LoadedSeries, Match, Script, ScriptError, When,
    expect::{PointTimesLine, apply_expect, point_times, string_literal},
    parse_series,
};
use crate::literal::{parse_duration_ms, parse_number};

const LOAD_FORM: &str = "invalid load command, expected `load[_with_nhcb] <step>`";
const EVAL_FORM: &str = "invalid evaluation command, expected `eval instant at <time> <query>` or \
                         `eval range from <start> to <end> step <step> <query>`";

/// Reads a script.
///
/// # Errors
/// The first line that is wrong, and why.
pub fn parse_script(text: &str) -> Result<Script, ScriptError> {
    let lines = text.split('\n').map(str::trim);
    let lines: Vec<&str> = lines.map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut reader = Reader { lines, at: 0 };
    let mut commands = Vec::new();
    while let Some(line) = reader.next() {
        if line.is_empty() {
            continue;
        }
        let word = line.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        let number = reader.at;
        let command = match word.as_str() {
            "clear" => Ok(Command::Clear { line: number }),
            _ if word.starts_with("load") => reader.load(line).map(Command::Load),
            _ if word.starts_with("eval") => reader.eval(line).map(|eval| Command::Eval(Box::new(eval))),
            _ => Err(format!("invalid command {line:?}")),
        };
        commands.push(command.map_err(|why| ScriptError { line: reader.at, why })?);
    }
    Ok(Script { commands })
}

struct Reader<'a> {
    /// Trimmed, comments emptied.
    lines: Vec<&'a str>,
    /// How many lines were read: the number of the current one.
    at: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let line = self.lines.get(self.at)?;
        self.at += 1;
        Some(line)
    }

    /// The next line of the command's block.
    fn next_in_block(&mut self) -> Option<&'a str> {
        let line = self.lines.get(self.at).filter(|line| !line.is_empty())?;
        self.at += 1;
        Some(line)
    }

    fn load(&mut self, head: &str) -> Result<Load, String> {
        let line = self.at;
        let (word, interval) = head.split_once(char::is_whitespace).ok_or(LOAD_FORM)?;
        let with_nhcb = match word {
            "load" => false,
            "load_with_nhcb" => true,
            _ => return Err(LOAD_FORM.to_owned()),
        };
        let interval_ms = time(interval.trim(), "step")?;
        let mut series: Vec<LoadedSeries> = Vec::new();
        while let Some(line) = self.next_in_block() {
            let is_start = line.split_whitespace().next().is_some_and(|word| word.ends_with("@st"));
            if is_start {
                return Err("start timestamps (@st) are not supported".to_owned());
            }
            let (labels, values) = parse_series(line)?;
            let times = (0..).map(|index: i64| index.saturating_mul(interval_ms));
            let samples = times.zip(values).filter_map(|(time_ms, value)| Some((time_ms, value?))).collect();
            // A series that is given again takes the place of the earlier one.
            match series.iter_mut().find(|earlier| earlier.labels == labels) {
                Some(earlier) => earlier.samples = samples,
                None => series.push(LoadedSeries { labels, samples }),
            }
        }
        Ok(Load { line, interval_ms, with_nhcb, series })
    }

    fn eval(&mut self, head: &str) -> Result<Eval, String> {
        let line = self.at;
        let (when, query, mut expect) = eval_head(head)?;
        if let Err(why) = crate::parse(&query) {
            return Err(format!("{why} in {query:?}"));
        }
        let mut series: Vec<ExpectedSeries> = Vec::new();
        while let Some(line) = self.next_in_block() {
            if expect.fail.is_some() && apply_failure(line, &mut expect)? {
                break;
            }
            if let PointTimesLine::Yes(times) = point_times(line)? {
                expect.range_vector = Some(times);
            } else if let Some(literal) = line.strip_prefix("expect string") {
                expect.result = Expected::String(string_literal(literal)?);
            } else if line.split(' ').next() == Some("expect") {
                apply_expect(line, &mut expect)?;
            } else if let Some(value) = scalar(line) {
                expect.result = Expected::Scalar(value);
                break;
            } else {
                let (labels, values) = parse_series(line)?;
                let instant = matches!(when, When::Instant { .. }) && expect.range_vector.is_none();
                if values.len() > 1 && instant {
                    return Err("an instant query answers one value per series; a range vector needs \
                                `expect range vector from <start> to <end> step <step>`"
                        .to_owned());
                }
                let found = ExpectedSeries { labels, values };
                match series.iter_mut().find(|earlier| earlier.labels == found.labels) {
                    Some(earlier) => *earlier = found,
                    None => series.push(found),
                }
            }
        }
        if !series.is_empty() {
            expect.result = Expected::Series(series);
        }
        Ok(Eval { line, query, when, expect })
    }
}

/// The older form of `expect fail`.
fn apply_failure(line: &str, expect: &mut Expect) -> Result<bool, String> {
    if let Some(message) = line.strip_prefix("expected_fail_message") {
        expect.fail = Some(Match::Exact(message.trim().to_owned()));
        return Ok(true);
    }
    let Some(pattern) = line.strip_prefix("expected_fail_regexp") else {
        return Ok(false);
    };
    expect.fail = Some(super::expect::regex(pattern.trim())?);
    Ok(true)
}

/// When, what, and what the command's name expects.
fn eval_head(head: &str) -> Result<(When, String, Expect), String> {
    let mut words = Words { rest: head };
    let command = words.next();
    let mut expect = Expect::default();
    match command {
        "eval" => {}
        "eval_fail" => expect.fail = Some(Match::Any),
        "eval_warn" => expect.warnings.push(Match::Any),
        "eval_info" => expect.infos.push(Match::Any),
        "eval_ordered" => expect.ordered = true,
        _ => return Err(EVAL_FORM.to_owned()),
    }
    let when = match (words.next(), words.next()) {
        ("instant", "at") => When::Instant { at_ms: time(words.next(), "timestamp")? },
        ("range", "from") if command != "eval_ordered" => {
            let start_ms = time(words.next(), "start timestamp")?;
            if words.next() != "to" {
                return Err(EVAL_FORM.to_owned());
            }
            let end_ms = time(words.next(), "end timestamp")?;
            if words.next() != "step" {
                return Err(EVAL_FORM.to_owned());
            }
            let step_ms = time(words.next(), "step")?;
            if end_ms < start_ms {
                return Err("the end timestamp is before the start timestamp".to_owned());
            }
            When::Range { start_ms, end_ms, step_ms }
        }
        _ => return Err(EVAL_FORM.to_owned()),
    };
    let query = words.rest.trim().to_owned();
    if query.is_empty() { Err(EVAL_FORM.to_owned()) } else { Ok((when, query, expect)) }
}

/// Words of a line one by one; empty words at its end.
pub(super) struct Words<'a> {
    pub rest: &'a str,
}

impl<'a> Words<'a> {
    pub fn next(&mut self) -> &'a str {
        let line = self.rest.trim_start();
        let (word, rest) = line.split_at(line.find(char::is_whitespace).unwrap_or(line.len()));
        self.rest = rest;
        word
    }
}

pub(super) fn time(text: &str, what: &str) -> Result<i64, String> {
    let milliseconds = parse_duration_ms(text).map_err(|why| format!("invalid {what} {text:?}: {why}"))?;
    i64::try_from(milliseconds).map_err(|_| format!("invalid {what} {text:?}: out of range"))
}

/// A number alone on its line.
fn scalar(line: &str) -> Option<f64> {
    let digits = line.strip_prefix(['+', '-']).unwrap_or(line);
    let value = parse_number(digits).ok().filter(|_| !digits.starts_with(['+', '-']))?;
    Some(if line.starts_with('-') { -value } else { value })
}
