//! Protocol buffers as they come: a cursor over bytes that borrows everything and allocates nothing,
//! and the little that is needed to write answers.
//!
//! Source of the format: protobuf.dev/programming-guides/encoding. Field numbers are those of
//! `opentelemetry/proto/metrics/v1/metrics.proto`.

/// Bytes that are no message of the kind expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(crate) type Result<T> = std::result::Result<T, Malformed>;

/// The fields of one message, in the order sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| Malformed("a field number is out of range"))?;
        if number == 0 {
            return Err(Malformed("a field has the number 0"));
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Malformed("a field has an unknown wire type")),
        };
        Ok(Some((number, value)))
    }

    /// The next sub-message in field `number`; other fields are passed over.
    pub(crate) fn next_message(&mut self, number: u32) -> Result<Option<&'a [u8]>> {
        while let Some((found, value)) = self.next()? {
            if found == number {
                return value.bytes().map(Some);
            }
        }
        Ok(None)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for (at, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                if at == 9 && byte > 1 {
                    break;
                }
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(Malformed("a number is cut short or too long"))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed("the message is cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| Malformed("the message is cut short"))
    }
}

impl<'a> Value<'a> {
    pub(crate) fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed("a field has another wire type than its message says")),
        }
    }

    pub(crate) fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("a text is no UTF-8"))
    }

    pub(crate) fn varint(self) -> Result<u64> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Malformed("a field has another wire type than its message says")),
        }
    }

    pub(crate) fn fixed64(self) -> Result<u64> {
        match self {
            Self::Fixed64(value) => Ok(value),
            _ => Err(Malformed("a field has another wire type than its message says")),
        }
    }

    pub(crate) fn double(self) -> Result<f64> {
        self.fixed64().map(f64::from_bits)
    }

    /// A zigzag number of 32 bits.
    pub(crate) fn sint32(self) -> Result<i32> {
        let value = self.varint()? as u32;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// Appends what a repeated fixed64 field holds, packed or one by one.
    pub(crate) fn push_fixed64(self, into: &mut Vec<u64>) -> Result<()> {
        match self {
            Self::Fixed64(value) => into.push(value),
            Self::Bytes(packed) => {
                let (values, rest) = packed.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(Malformed("a packed field is cut short"));
                }
                into.extend(values.iter().map(|bytes| u64::from_le_bytes(*bytes)));
            }
            _ => return Err(Malformed("a field has another wire type than its message says")),
        }
        Ok(())
    }

    /// Appends what a repeated varint field holds, packed or one by one.
    pub(crate) fn push_varints(self, into: &mut Vec<u64>) -> Result<()> {
        match self {
            Self::Varint(value) => into.push(value),
            Self::Bytes(packed) => {
                let mut rest = Fields::of(packed);
                while !rest.rest.is_empty() {
                    into.push(rest.varint()?);
                }
            }
            _ => return Err(Malformed("a field has another wire type than its message says")),
        }
        Ok(())
    }
}

pub(crate) fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

pub(crate) fn put_key(into: &mut Vec<u8>, number: u32, wire_type: u32) {
    put_varint(into, u64::from(number << 3 | wire_type));
}

pub(crate) fn put_bytes(into: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_key(into, number, 2);
    put_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// Begins a sub-message whose length is not known yet; [`end_message`] puts it in.
pub(crate) fn begin_message(into: &mut Vec<u8>, number: u32) -> usize {
    put_key(into, number, 2);
    into.extend_from_slice(&[0; LENGTH_BYTES]);
    into.len()
}

/// A length of fixed width is a valid varint, only not the shortest.
const LENGTH_BYTES: usize = 5;

pub(crate) fn end_message(into: &mut [u8], start: usize) {
    let len = into.len() - start;
    for (at, byte) in into[start - LENGTH_BYTES..start].iter_mut().enumerate() {
        let more = if at + 1 < LENGTH_BYTES { 0x80 } else { 0 };
        *byte = (len >> (7 * at)) as u8 & 0x7f | more;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut bytes = Vec::new();
        put_key(&mut bytes, 3, 0);
        put_varint(&mut bytes, u64::MAX);
        let start = begin_message(&mut bytes, 4);
        put_bytes(&mut bytes, 1, b"x");
        end_message(&mut bytes, start);
        let mut fields = Fields::of(&bytes);
        assert_eq!(fields.next(), Ok(Some((3, Value::Varint(u64::MAX)))));
        let (number, message) = fields.next().unwrap().unwrap();
        assert_eq!((number, message.bytes().unwrap()), (4, b"\x0a\x01x".as_slice()));
        assert_eq!(fields.next(), Ok(None));
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_said() {
        for bytes in [&[0x80][..], &[0xff; 11], &[0x0a, 5, 1], &[0x09, 1], &[0x03], &[0x00, 1]] {
            assert!(Fields::of(bytes).next().is_err(), "{bytes:?}");
        }
        assert!(Value::Bytes(&[1, 2]).push_fixed64(&mut Vec::new()).is_err());
        assert_eq!(Value::Varint(3).sint32(), Ok(-2));
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut fields = Fields::of(&bytes);
            let mut left = bytes.len() + 1;
            while let Ok(Some(_)) = fields.next() {
                left -= 1;
                prop_assert!(left > 0);
            }
        }
    }
}
