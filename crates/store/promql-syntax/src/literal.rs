//! Numbers, durations and strings as they are written.

pub use crate::lex::{Scanned, is_alpha, scan_number};
use std::fmt::Write as _;

const MS_PER_SECOND: u64 = 1000;
/// Units from the largest; a duration names each at most once and in this order.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3600 * MS_PER_SECOND),
    ("w", 7 * 24 * 3600 * MS_PER_SECOND),
    ("d", 24 * 3600 * MS_PER_SECOND),
    ("h", 3600 * MS_PER_SECOND),
    ("m", 60 * MS_PER_SECOND),
    ("s", MS_PER_SECOND),
    ("ms", 1),
];
/// What fits into 64 bits of nanoseconds, as upstream keeps durations.
pub(crate) const DURATION_MS_MAX: u64 = (i64::MAX / 1_000_000) as u64;

/// Milliseconds of a duration such as `1h30m`.
///
/// # Errors
/// Why it is none, in upstream's words.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Err("empty duration string".to_owned());
    }
    if text == "0" {
        return Ok(0);
    }
    let invalid = || format!("not a valid duration string: {}", quote(text.as_bytes()));
    let mut total: u64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        if number.is_empty() || unit.is_empty() {
            return Err(invalid());
        }
        if UNITS.iter().all(|known| known.0 != unit) {
            let (unit, text) = (quote(unit.as_bytes()), quote(text.as_bytes()));
            return Err(format!("unknown unit {unit} in duration {text}"));
        }
        let factor = units.find(|known| known.0 == unit).ok_or_else(invalid)?.1;
        let value: Option<u64> = number.parse().ok();
        total = value
            .and_then(|value| value.checked_mul(factor))
            .and_then(|value| value.checked_add(total))
            .filter(|total| *total <= DURATION_MS_MAX)
            .ok_or_else(|| "duration out of range".to_owned())?;
        rest = after;
    }
    Ok(total)
}

/// A duration as upstream prints it: years and weeks only where nothing remains, `0s` for none.
#[must_use]
pub fn format_duration_ms(milliseconds: u64) -> String {
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    let mut rest = milliseconds;
    for (unit, factor) in UNITS {
        let whole_only = matches!(unit, "y" | "w");
        if whole_only && !rest.is_multiple_of(factor) {
            continue;
        }
        if rest >= factor {
            let _ = write!(text, "{}{unit}", rest / factor);
            rest %= factor;
        }
    }
    text
}

/// A number as the lexer lets it through: decimal, octal with a leading 0, hexadecimal, `Inf`, `NaN`,
/// digits grouped by underscores.
///
/// # Errors
/// Why it is none.
pub fn parse_number(text: &str) -> Result<f64, String> {
    let invalid = |why: &str| {
        format!("error parsing number: strconv.ParseFloat: parsing {}: {why}", quote(text.as_bytes()))
    };
    let plain: String = text.chars().filter(|letter| *letter != '_').collect();
    let lower = plain.to_ascii_lowercase();
    match lower.as_str() {
        "inf" | "+inf" | "infinity" | "+infinity" => return Ok(f64::INFINITY),
        "-inf" | "-infinity" => return Ok(f64::NEG_INFINITY),
        "nan" => return Ok(f64::NAN),
        _ => {}
    }
    if let Some(hex) = lower.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16)
            .map(|value| value as f64)
            .map_err(|_| invalid("value out of range"));
    }
    let octal =
        plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|b| (b'0'..=b'7').contains(&b));
    if octal && let Ok(value) = i64::from_str_radix(&plain, 8) {
        return Ok(value as f64);
    }
    match plain.parse::<f64>() {
        Ok(value) if value.is_infinite() => Err(invalid("value out of range")),
        Ok(value) => Ok(value),
        Err(_) => Err(invalid("invalid syntax")),
    }
}

/// A float as upstream prints it: without exponent, `+Inf`, `-Inf`, `NaN`.
#[must_use]
pub fn format_number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{value}")
    }
}

/// The bytes that a string in quotes of any kind stands for. They may be no UTF-8: `"\xff"`.
///
/// # Errors
/// Quotes that do not match, escapes that are none.
pub fn unquote(text: &str) -> Result<Vec<u8>, &'static str> {
    const SYNTAX: &str = "invalid syntax";
    let mut letters = text.chars();
    let (Some(open), Some(close)) = (letters.next(), letters.next_back()) else {
        return Err(SYNTAX);
    };
    if open != close || !matches!(open, '"' | '\'' | '`') {
        return Err(SYNTAX);
    }
    let inner = letters.as_str();
    if open == '`' {
        let has_tick = inner.contains('`');
        return if has_tick { Err(SYNTAX) } else { Ok(inner.bytes().filter(|b| *b != b'\r').collect()) };
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(letter) = rest.next() {
        if letter == '\n' || letter == open {
            return Err(SYNTAX);
        }
        if letter == '\\' {
            unescape(&mut rest, open, &mut bytes).ok_or(SYNTAX)?;
        } else {
            push_char(&mut bytes, letter);
        }
    }
    Ok(bytes)
}

fn push_char(bytes: &mut Vec<u8>, letter: char) {
    bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

/// What follows a backslash.
fn unescape(rest: &mut std::str::Chars<'_>, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
    let letter = rest.next()?;
    let simple = match letter {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '0'..='7' => {
            let first = letter.to_digit(8)?;
            u8::try_from(digits(rest, first, 2, 8)?).ok()?
        }
        'x' => u8::try_from(digits(rest, 0, 2, 16)?).ok()?,
        'u' | 'U' => {
            let count = if letter == 'u' { 4 } else { 8 };
            push_char(bytes, char::from_u32(digits(rest, 0, count, 16)?)?);
            return Some(());
        }
        other if other == quote => quote as u8,
        _ => return None,
    };
    bytes.push(simple);
    Some(())
}

/// `first` followed by `count` more digits.
fn digits(rest: &mut std::str::Chars<'_>, first: u32, count: usize, radix: u32) -> Option<u32> {
    let mut value = first;
    for _ in 0..count {
        value = value.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?)?;
    }
    Some(value)
}

/// Bytes in double quotes, as Go's `strconv.Quote` writes them: what reads back is the same.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            quote_char(&mut text, letter);
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('"');
    text
}

fn quote_char(text: &mut String, letter: char) {
    let escape = match letter {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\x0c' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\x0b' => "\\v",
        _ => "",
    };
    let code = letter as u32;
    if !escape.is_empty() {
        text.push_str(escape);
    } else if (' '..='~').contains(&letter) {
        text.push(letter);
    } else if code < 0x80 {
        let _ = write!(text, "\\x{code:02x}");
    } else if letter.escape_debug().len() == 1 {
        text.push(letter);
    } else if code < 0x10000 {
        let _ = write!(text, "\\u{code:04x}");
    } else {
        let _ = write!(text, "\\U{code:08x}");
    }
}

/// A name that needs no quotes as a label: letters, digits and underscores, no digit first.
#[must_use]
pub fn is_plain_label(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(fits) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_that_are_none() {
        for text in ["", "5", "5x", "1m1h", "1m1m", "1hs", "1.5h", "-1m", "s"] {
            assert!(parse_duration_ms(text).is_err(), "{text}");
        }
        assert_eq!(parse_duration_ms("300y").unwrap_err(), "duration out of range");
        assert_eq!(parse_duration_ms("99999999999999999999s").unwrap_err(), "duration out of range");
    }

    #[test]
    fn durations_print_as_upstream_does() {
        for (text, printed) in [
            ("0s", "0s"),
            ("1h30m", "1h30m"),
            ("90d", "90d"),
            ("2w", "2w"),
            ("365d", "1y"),
            ("1y1d", "366d"),
            ("1d1ms", "1d1ms"),
            ("10s53ms", "10s53ms"),
        ] {
            assert_eq!(format_duration_ms(parse_duration_ms(text).unwrap()), printed);
        }
    }

    #[test]
    fn numbers_of_every_form() {
        for (text, value) in [
            ("0x1F", 31.0),
            ("0755", 493.0),
            ("08", 8.0),
            ("1_000", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("Inf", f64::INFINITY),
        ] {
            assert_eq!(parse_number(text), Ok(value), "{text}");
        }
        assert!(parse_number("nAn").unwrap().is_nan());
        assert!(parse_number("1e999").unwrap_err().contains("out of range"));
        assert!(parse_number("0xffffffffffffffffff").is_err());
        assert_eq!(format_number(1e21), "1000000000000000000000");
        assert_eq!(format_number(f64::NEG_INFINITY), "-Inf");
    }

    #[test]
    fn strings_of_every_form() {
        assert_eq!(unquote(r#""a\n\x41\101\u00e9\U0001F600\"""#).unwrap(), "a\nAAé😀\"".as_bytes());
        assert_eq!(unquote(r"'it\'s'").unwrap(), b"it's");
        assert_eq!(unquote(r"`raw\n`").unwrap(), br"raw\n");
        assert_eq!(unquote(r#""\xff""#).unwrap(), [0xff]);
        for text in ["\"", "\"a'", r#""\q""#, r#""\x4""#, r#""\ud800""#, r#""\'""#, "", "\"a\"b\""] {
            assert!(unquote(text).is_err(), "{text}");
        }
        assert_eq!(quote(b"a\xc5z"), r#""a\xc5z""#);
        assert_eq!(quote("\0\u{200b}é".as_bytes()), "\"\\x00\\u200bé\"");
    }

    proptest! {
        #[test]
        fn quoted_bytes_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(unquote(&quote(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn printed_durations_read_back(milliseconds in 0..DURATION_MS_MAX) {
            prop_assert_eq!(parse_duration_ms(&format_duration_ms(milliseconds)), Ok(milliseconds));
        }
    }
}
