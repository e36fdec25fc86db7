//! Values of attributes as text, as the collector's `AsString` gives them.

use std::{collections::BTreeMap, fmt::Write};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::wire::{Fields, Malformed, Result, Value};

/// How deep lists and maps may lie in each other.
pub const VALUE_DEPTH_MAX: usize = 16;

/// One attribute; its value is read when it is needed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Reads a `KeyValue`.
    pub(crate) fn read(message: &'a [u8]) -> Result<Self> {
        let mut attribute = Self { key: "", value: &[] };
        let mut fields = Fields::of(message);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => attribute.key = value.text()?,
                2 => attribute.value = value.bytes()?,
                _ => {}
            }
        }
        Ok(attribute)
    }

    /// Appends the value as text; a value that is not set is an empty text.
    pub(crate) fn write_value(&self, into: &mut String) -> Result<()> {
        let Some((number, value)) = chosen(self.value)? else { return Ok(()) };
        match number {
            1 => into.push_str(value.text()?),
            7 => STANDARD.encode_string(value.bytes()?, into),
            4 => push_double(into, value.double()?),
            _ => write_json(into, number, value, VALUE_DEPTH_MAX)?,
        }
        Ok(())
    }
}

/// The member of the value's oneof that counts: the last.
fn chosen(message: &[u8]) -> Result<Option<(u32, Value<'_>)>> {
    let mut found = None;
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        if (1..=7).contains(&number) {
            found = Some((number, value));
        }
    }
    Ok(found)
}

fn write_json(into: &mut String, number: u32, value: Value<'_>, depth_left: usize) -> Result<()> {
    let deeper = depth_left.checked_sub(1).ok_or(Malformed("an attribute's value lies too deep"))?;
    match number {
        1 => push_text(into, value.text()?),
        2 => into.push_str(if value.varint()? == 0 { "false" } else { "true" }),
        3 => push_number(into, value.varint()? as i64),
        4 => push_double(into, value.double()?),
        5 => {
            into.push('[');
            let mut values = Fields::of(value.bytes()?);
            let mut first = true;
            while let Some(element) = values.next_message(1)? {
                if !std::mem::take(&mut first) {
                    into.push(',');
                }
                write_member(into, element, deeper)?;
            }
            into.push(']');
        }
        6 => {
            let mut members = BTreeMap::new();
            let mut values = Fields::of(value.bytes()?);
            while let Some(member) = values.next_message(1)? {
                let member = Attribute::read(member)?;
                members.insert(member.key, member.value);
            }
            into.push('{');
            for (at, (key, member)) in members.into_iter().enumerate() {
                if at > 0 {
                    into.push(',');
                }
                push_text(into, key);
                into.push(':');
                write_member(into, member, deeper)?;
            }
            into.push('}');
        }
        _ => push_text(into, &STANDARD.encode(value.bytes()?)),
    }
    Ok(())
}

fn write_member(into: &mut String, message: &[u8], depth_left: usize) -> Result<()> {
    match chosen(message)? {
        Some((number, value)) => write_json(into, number, value, depth_left),
        None => {
            into.push_str("null");
            Ok(())
        }
    }
}

fn push_number(into: &mut String, value: i64) {
    // Writing to a String cannot fail.
    let _ = write!(into, "{value}");
}

/// As Go's JSON writes it: an exponent below 1e-6 and from 1e21.
fn push_double(into: &mut String, value: f64) {
    let size = value.abs();
    let _ = if value.is_nan() {
        write!(into, "NaN")
    } else if value.is_infinite() {
        write!(into, "{}Inf", if value < 0.0 { '-' } else { '+' })
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => write!(into, "{digits}e+{exponent}"),
            _ => write!(into, "{text}"),
        }
    } else {
        write!(into, "{value}")
    };
}

/// A JSON text with `<`, `>` and `&` escaped, as Go does.
fn push_text(into: &mut String, text: &str) {
    into.push('"');
    for letter in text.chars() {
        let _ = match letter {
            '"' => write!(into, "\\\""),
            '\\' => write!(into, "\\\\"),
            '\n' => write!(into, "\\n"),
            '\r' => write!(into, "\\r"),
            '\t' => write!(into, "\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                write!(into, "\\u{:04x}", u32::from(letter))
            }
            other => {
                into.push(other);
                Ok(())
            }
        };
    }
    into.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{put_bytes, put_key, put_varint};

    fn text_of(value: &[u8]) -> Result<String> {
        let mut text = String::new();
        Attribute { key: "k", value }.write_value(&mut text)?;
        Ok(text)
    }

    #[test]
    fn values_are_text() {
        let mut list = Vec::new();
        for element in [&b"\x0a\x03a<b"[..], b"\x10\x01", b"\x18\x07", b""] {
            put_bytes(&mut list, 1, element);
        }
        let mut message = Vec::new();
        put_bytes(&mut message, 5, &list);
        assert_eq!(text_of(&message).unwrap(), "[\"a\\u003cb\",true,7,null]");
        assert_eq!(text_of(b"\x3a\x02hi").unwrap(), "aGk=");
        let mut number = Vec::new();
        put_key(&mut number, 3, 0);
        put_varint(&mut number, (-5i64) as u64);
        assert_eq!(text_of(&number).unwrap(), "-5");
        for (value, expected) in
            [(0.5, "0.5"), (3.0, "3"), (1e21, "1e+21"), (1e-9, "1e-9"), (f64::NEG_INFINITY, "-Inf")]
        {
            let mut double = vec![0x21];
            double.extend(f64::to_le_bytes(value));
            assert_eq!(text_of(&double).unwrap(), expected);
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth| {
            let mut value = b"\x10\x01".to_vec();
            for _ in 0..depth {
                let mut list = Vec::new();
                put_bytes(&mut list, 1, &value);
                value.clear();
                put_bytes(&mut value, 5, &list);
            }
            text_of(&value)
        };
        assert!(nested(VALUE_DEPTH_MAX - 1).is_ok());
        assert!(nested(VALUE_DEPTH_MAX).is_err());
    }
}
