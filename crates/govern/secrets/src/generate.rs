//! Credentials that the platform makes up.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrets_api::{Error, Kind, Result, Value};
use zeroize::Zeroizing;

use crate::seal::fill_random;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

pub(crate) fn value(kind: Kind) -> Result<Value> {
    let (Kind::Password { length: given } | Kind::Hex { bytes: given } | Kind::Base64 { bytes: given }) =
        kind;
    if !(16..=1_024).contains(&given) {
        return Err(Error::Length { given });
    }
    let text = match kind {
        Kind::Password { length } => return Value::new(password(length)?),
        Kind::Hex { bytes } => hex::encode(random(bytes)?),
        Kind::Base64 { bytes } => URL_SAFE_NO_PAD.encode(random(bytes)?),
    };
    Value::new(text)
}

fn password(length: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(length);
    while out.len() < length {
        // Bytes from 248 on are thrown away: 248 is four times 62, so that all letters are as likely.
        let bytes = random(length)?;
        let fair = bytes.iter().filter(|byte| **byte < 248);
        out.extend(fair.take(length - out.len()).map(|byte| ALPHABET[usize::from(byte % 62)]));
    }
    Ok(out)
}

fn random(length: usize) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; length]);
    fill_random(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn made_up_values_have_their_form_and_never_repeat() {
        let mut seen = HashSet::new();
        for _ in 0..200 {
            let text = value(Kind::Password { length: 40 }).unwrap();
            let text = text.expose_str().unwrap().to_owned();
            assert!(text.len() == 40 && text.bytes().all(|b| b.is_ascii_alphanumeric()), "{text}");
            assert!(seen.insert(text));
        }
        assert_eq!(value(Kind::Hex { bytes: 32 }).unwrap().expose().len(), 64);
        assert_eq!(value(Kind::Base64 { bytes: 32 }).unwrap().expose().len(), 43);
    }

    #[test]
    fn all_letters_are_about_as_likely() {
        let mut counts = [0u32; 62];
        for _ in 0..100 {
            for byte in password(1_000).unwrap() {
                counts[ALPHABET.iter().position(|letter| *letter == byte).unwrap()] += 1;
            }
        }
        // 100,000 over 62 is 1,613; six standard deviations are 240.
        assert!(counts.iter().all(|count| (1_370..1_860).contains(count)), "{counts:?}");
    }

    #[test]
    fn lengths_are_bounded() {
        for given in [0, 15, 1_025] {
            assert!(matches!(value(Kind::Password { length: given }), Err(Error::Length { .. })));
            assert!(matches!(value(Kind::Hex { bytes: given }), Err(Error::Length { .. })));
        }
    }
}
