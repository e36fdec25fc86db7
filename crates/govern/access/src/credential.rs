//! Credentials as text: how they are made, read and told apart, and how a request carries them.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{Error, Result, cookie};

/// The text of a credential, shown once. It does not show itself in debug output.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// What a request proves itself with.
#[derive(Debug, Clone)]
pub enum Credential {
    /// `Authorization: Bearer`, an API token.
    Bearer(Secret),
    /// The password of `Authorization: Basic`, an API token; the user name is not looked at.
    Basic(Secret),
    /// The session cookie, and what is known about where the request comes from.
    Cookie { value: Secret, csrf: Csrf },
}

/// Whether a request with a cookie proves that it comes from Stead's own page. There is no default:
/// whoever makes a credential from a cookie has to think of it.
#[derive(Debug, Clone)]
pub enum Csrf {
    /// The method changes nothing (GET, HEAD, OPTIONS).
    SafeMethod,
    /// The header `X-Stead-Csrf` of a request that may change something.
    Header(Option<String>),
}

/// The headers that matter here.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestHeaders<'h> {
    pub authorization: Option<&'h str>,
    pub cookie: Option<&'h str>,
    /// `X-Stead-Csrf`.
    pub csrf: Option<&'h str>,
    /// The method changes nothing (GET, HEAD, OPTIONS).
    pub safe_method: bool,
    /// Came over TLS, which decides the name of the cookie.
    pub tls: bool,
}

impl RequestHeaders<'_> {
    /// The credential of a request; none when it has none. A given `Authorization` is never passed
    /// over for a cookie.
    ///
    /// # Errors
    /// [`Error::Header`] for another scheme, broken base64, or two session cookies.
    pub fn credential(&self) -> Result<Option<Credential>> {
        if let Some(text) = self.authorization {
            return authorization(text).map(Some);
        }
        let Some(value) = cookie::read(self.cookie.unwrap_or(""), self.tls)? else { return Ok(None) };
        let csrf =
            if self.safe_method { Csrf::SafeMethod } else { Csrf::Header(self.csrf.map(str::to_owned)) };
        Ok(Some(Credential::Cookie { value: Secret::new(value.to_owned()), csrf }))
    }
}

fn authorization(text: &str) -> Result<Credential> {
    let wrong = || Error::Header { header: "Authorization" };
    let (scheme, rest) = text.trim().split_once(' ').ok_or_else(wrong)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Credential::Bearer(Secret::new(rest.to_owned())));
    }
    if !scheme.eq_ignore_ascii_case("basic") || rest.len() > 2 * LENGTH_MAX {
        return Err(wrong());
    }
    let decoded = Zeroizing::new(STANDARD.decode(rest).map_err(|_| wrong())?);
    let decoded = std::str::from_utf8(&decoded).map_err(|_| wrong())?;
    let (_, password) = decoded.split_once(':').ok_or_else(wrong)?;
    Ok(Credential::Basic(Secret::new(password.to_owned())))
}

/// Longer texts are no credential, in bytes.
const LENGTH_MAX: usize = 256;
const ID_DIGITS: usize = 32;
const SECRET_BYTES: usize = 32;
const CHECK_DIGITS: usize = 8;

/// What a credential is for. One kind is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Token,
    Link,
    Session,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Token => "stead_pat_",
            Self::Link => "stead_link_",
            Self::Session => "stead_ses_",
        }
    }
}

/// A credential that has the right form; whether it is good is another question.
pub(crate) struct Parsed {
    /// The 32 digits of the id.
    pub(crate) id: String,
    pub(crate) digest: [u8; 32],
}

/// A new credential for the record `id` (`tok_…`), and the digest to keep.
///
/// Its form is `stead_pat_<32 digits of the id>_<64 digits of secret><8 digits of check>`: scanners
/// for leaked secrets find it, and a mistyped one is refused without a look into state.
pub(crate) fn make(kind: Kind, id: &str) -> Result<(Secret, String)> {
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    getrandom::fill(secret.as_mut_slice())
        .map_err(|error| Error::Internal { why: format!("no random bytes: {error}") })?;
    let digits = id.rsplit('_').next().unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(LENGTH_MAX));
    text.push_str(kind.prefix());
    text.push_str(digits);
    text.push('_');
    text.push_str(&Zeroizing::new(hex::encode(secret.as_slice())));
    let check = check(&text);
    text.push_str(&check);
    let digest = hex::encode(digest(&text));
    Ok((Secret(text), digest))
}

pub(crate) fn parse(kind: Kind, text: &str) -> Option<Parsed> {
    let rest = text.strip_prefix(kind.prefix()).filter(|_| text.len() <= LENGTH_MAX)?;
    let (id, secret) = rest.split_once('_')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let right = id.len() == ID_DIGITS
        && secret.len() == 2 * SECRET_BYTES + CHECK_DIGITS
        && digits(id)
        && digits(secret)
        && text.ends_with(&check(&text[..text.len() - CHECK_DIGITS]));
    right.then(|| Parsed { id: id.to_owned(), digest: digest(text) })
}

/// Compares in constant time; the stored digest is hexadecimal.
pub(crate) fn matches(parsed: &Parsed, stored: &str) -> bool {
    hex::decode(stored).is_ok_and(|stored| stored.ct_eq(&parsed.digest).into())
}

/// The CSRF token of a session: only who has the cookie's value can make it, and the cookie cannot
/// be read by scripts, so a page has it from Stead's own answers only.
pub(crate) fn csrf(session: &str) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(session.as_bytes())
        .map_err(|error| Error::Internal { why: error.to_string() })?;
    mac.update(b"stead csrf v1");
    Ok(hex::encode(mac.finalize().into_bytes()))
}

pub(crate) fn equal(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

pub(crate) fn digest(text: &str) -> [u8; 32] {
    Sha256::new().chain_update(b"stead credential v1\0").chain_update(text.as_bytes()).finalize().into()
}

fn check(text: &str) -> String {
    let hash = Sha256::new().chain_update(b"stead check v1\0").chain_update(text.as_bytes()).finalize();
    hex::encode(&hash[..CHECK_DIGITS / 2])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::TokenId;

    #[test]
    fn made_ones_parse_as_their_kind_only() {
        let id = TokenId::new();
        let (text, stored) = make(Kind::Token, id.as_str()).unwrap();
        assert_eq!(format!("{text:?}"), "<secret>");
        let parsed = parse(Kind::Token, text.expose()).unwrap();
        assert_eq!(format!("tok_{}", parsed.id), id.as_str());
        assert!(matches(&parsed, &stored));
        assert!(!stored.contains(&text.expose()[43..60]));
        assert!(parse(Kind::Session, text.expose()).is_none());
        assert!(parse(Kind::Link, text.expose()).is_none());
        let (other, _) = make(Kind::Token, id.as_str()).unwrap();
        assert!(!matches(&parse(Kind::Token, other.expose()).unwrap(), &stored));
    }

    #[test]
    fn every_changed_digit_is_refused() {
        let (text, stored) = make(Kind::Token, TokenId::new().as_str()).unwrap();
        for at in 0..text.expose().len() {
            let mut changed = text.expose().to_owned().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(parse(Kind::Token, &changed).is_none_or(|parsed| !matches(&parsed, &stored)), "{at}");
        }
    }

    #[test]
    fn headers_become_credentials() {
        let basic = STANDARD.encode("anybody:stead_pat_x:y");
        let with =
            |authorization| RequestHeaders { authorization: Some(authorization), ..Default::default() };
        for good in ["Bearer t", "bearer t", "BEARER  t "] {
            assert!(matches!(with(good).credential(), Ok(Some(Credential::Bearer(t))) if t.expose() == "t"));
        }
        let header = format!("Basic {basic}");
        let Ok(Some(Credential::Basic(password))) = with(&header).credential() else { panic!() };
        assert_eq!(password.expose(), "stead_pat_x:y");
        for bad in ["", "Bearer", "Digest x", "Basic !", "Basic eA==", "stead_pat_x"] {
            assert!(with(bad).credential().is_err(), "{bad}");
        }
        assert!(RequestHeaders::default().credential().unwrap().is_none());
        // An unusable header is not passed over for a cookie.
        let both = RequestHeaders { cookie: Some("stead_session=x"), ..with("Digest x") };
        assert!(both.credential().is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".{0,300}", id in "[0-9a-f]{0,40}", rest in "[0-9a-f_]{0,90}") {
            for kind in [Kind::Token, Kind::Link, Kind::Session] {
                let _ = parse(kind, &text);
                let _ = parse(kind, &format!("{}{id}_{rest}", kind.prefix()));
            }
            let headers = RequestHeaders { authorization: Some(&text), ..Default::default() };
            let _ = headers.credential();
            let headers = RequestHeaders { cookie: Some(&text), ..Default::default() };
            let _ = headers.credential();
        }
    }
}
