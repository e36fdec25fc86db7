//! The bytes that are hashed.
//!
//! # Header, version 1
//! Fields in this order, nothing between them. A *text* is its length in bytes as `u32` big-endian
//! and then its UTF-8; integers are big-endian.
//!
//! | field | form |
//! |---|---|
//! | magic | the 12 bytes `stead-ledger` |
//! | version | `u8`, 1 |
//! | tenant, environment | text each |
//! | seq | `u64` |
//! | at | `i64`, nanoseconds since 1970 UTC |
//! | id, kind, subject, actor, correlation | text each |
//! | causation | `u8` 0 for none; or 1 and then text |
//! | why | text |
//! | body digest, previous hash | 32 bytes each |
//!
//! The hash of an entry is the SHA-256 of its header. Every text carries its length, so no two
//! different headers share bytes.
//!
//! # Body
//! The digest is the SHA-256 of the body as JSON with the keys of every object sorted by their
//! UTF-8 bytes, without white space, strings and numbers as `serde_json` writes them (with its
//! feature `float_roundtrip`, so that a float read back from storage is the same float).

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::entry::Entry;

/// The version of the header's byte form that new entries get.
pub const HEADER_VERSION: u8 = 1;
const MAGIC: &[u8; 12] = b"stead-ledger";

/// A SHA-256.
pub type Hash = [u8; 32];

/// The canonical header of `entry`.
///
/// None when one of its hashes is not 64 lowercase hexadecimal digits; such an entry is no entry.
#[must_use]
pub fn header(entry: &Entry) -> Option<Vec<u8>> {
    let body_digest = parse_hash(&entry.body_digest)?;
    let prev_hash = parse_hash(&entry.prev_hash)?;
    let draft = &entry.draft;
    let mut out = Vec::with_capacity(256 + draft.why.len() + draft.subject.len());
    out.extend_from_slice(MAGIC);
    out.push(HEADER_VERSION);
    text(&mut out, draft.tenant.as_str());
    text(&mut out, draft.environment.as_str());
    out.extend_from_slice(&entry.seq.to_be_bytes());
    out.extend_from_slice(&entry.at.nanos().to_be_bytes());
    text(&mut out, draft.id.as_str());
    text(&mut out, &draft.kind);
    text(&mut out, &draft.subject);
    text(&mut out, draft.actor.as_str());
    text(&mut out, &draft.cause.correlation);
    match &draft.cause.causation {
        None => out.push(0),
        Some(cause) => {
            out.push(1);
            text(&mut out, cause.as_str());
        }
    }
    text(&mut out, &draft.why);
    out.extend_from_slice(&body_digest);
    out.extend_from_slice(&prev_hash);
    Some(out)
}

fn text(out: &mut Vec<u8>, text: &str) {
    // Texts in entries are far below 4 GiB (state limits a commit); a longer one would be cut in
    // its length only, and so still not collide in practice.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The hash of `entry` by its header; none when its hashes are malformed.
#[must_use]
pub fn entry_hash(entry: &Entry) -> Option<Hash> {
    Some(Sha256::digest(header(entry)?).into())
}

/// The digest of a body.
#[must_use]
pub fn body_digest(body: &Value) -> Hash {
    Sha256::digest(json(body)).into()
}

/// JSON with sorted keys and no white space.
#[must_use]
pub fn json(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_json(value, &mut out);
    out
}

fn write_json(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_json(item, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            out.push(b'{');
            for (at, (key, item)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_scalar(&Value::String(key.clone()), out);
                out.push(b':');
                write_json(item, out);
            }
            out.push(b'}');
        }
        scalar => write_scalar(scalar, out),
    }
}

fn write_scalar(value: &Value, out: &mut Vec<u8>) {
    // Writing a scalar into memory cannot fail: there is no map whose keys could be no strings.
    let _ = serde_json::to_writer(out, value);
}

/// Hash to text: 64 lowercase hexadecimal digits.
#[must_use]
pub fn hash_text(hash: &Hash) -> String {
    hex::encode(hash)
}

/// Text to hash; only the form that [`hash_text`] writes is taken.
#[must_use]
pub fn parse_hash(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = json!({"b": [{"z": 1, "a": null}], "a": {"é": 1.5, "e": "x\n"}});
        assert_eq!(
            String::from_utf8(json(&value)).unwrap(),
            r#"{"a":{"e":"x\n","é":1.5},"b":[{"a":null,"z":1}]}"#
        );
    }

    #[test]
    fn hashes_have_one_text_form() {
        let hash = [0xab; 32];
        assert_eq!(parse_hash(&hash_text(&hash)), Some(hash));
        assert_eq!(parse_hash(&hash_text(&hash).to_uppercase()), None);
        assert_eq!(parse_hash("ab"), None);
    }

    proptest! {
        #[test]
        fn a_body_keeps_its_digest_through_text(number in any::<f64>(), text in ".{0,20}", int in any::<i64>()) {
            let body = json!({"n": number, "t": text, "i": int, "deep": [[{"n": number}]]});
            let stored = serde_json::to_string(&body).unwrap();
            let read: Value = serde_json::from_str(&stored).unwrap();
            prop_assert_eq!(body_digest(&read), body_digest(&body));
        }
    }
}
