//! The value of a secret.

use std::{fmt, str::Utf8Error};

use zeroize::Zeroizing;

use crate::{Error, Result};

/// The value of a secret. Its memory is overwritten when it is dropped, it shows as `<secret>`, and
/// it is neither serialisable nor comparable: whoever needs the bytes says [`Value::expose`].
#[derive(Clone)]
pub struct Value(Zeroizing<Vec<u8>>);

impl Value {
    /// Largest value, in bytes.
    pub const SIZE_BYTES_MAX: usize = 64 << 10;

    /// # Errors
    /// [`Error::Limit`] over [`Value::SIZE_BYTES_MAX`], [`Error::Empty`] for nothing at all.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.is_empty() {
            return Err(Error::Empty);
        }
        if bytes.len() > Self::SIZE_BYTES_MAX {
            return Err(Error::Limit { what: "bytes of one secret", limit: Self::SIZE_BYTES_MAX as u64 });
        }
        Ok(Self(bytes))
    }

    /// The bytes. Keep the borrow short, and copy into memory that is overwritten after use.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text.
    ///
    /// # Errors
    /// They are not UTF-8 (the error says where, not what).
    pub fn expose_str(&self) -> std::result::Result<&str, Utf8Error> {
        std::str::from_utf8(&self.0)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_show() {
        let value = Value::new("hunter2").unwrap();
        assert_eq!(format!("{value:?} {:?}", Some(&value)), "<secret> Some(<secret>)");
    }

    #[test]
    fn the_size_limit() {
        assert!(Value::new(vec![1; Value::SIZE_BYTES_MAX]).is_ok());
        assert!(matches!(Value::new(vec![1; Value::SIZE_BYTES_MAX + 1]), Err(Error::Limit { .. })));
        assert!(matches!(Value::new(""), Err(Error::Empty)));
    }
}
