//! Protocol buffers as they lie on the wire, field by field, without copying (encoding of
//! protobuf.dev). It knows no schema: who reads a message decides what its fields mean and passes
//! over those it does not know.

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the message is cut short")]
    CutShort,
    #[error("a number is longer than ten bytes")]
    LongVarint,
    #[error("a field has number 0 or a type that is not known")]
    BadField,
    #[error("field {0} has another type than it should")]
    WrongType(u32),
    #[error("a text is not UTF-8")]
    NotUtf8,
}

/// One field's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field<'a> {
    pub number: u32,
    pub value: Value<'a>,
}

impl<'a> Field<'a> {
    fn wrong<T>(self) -> Result<T, WireError> {
        Err(WireError::WrongType(self.number))
    }
    /// A message or bytes.
    pub fn bytes(self) -> Result<&'a [u8], WireError> {
        if let Value::Bytes(bytes) = self.value { Ok(bytes) } else { self.wrong() }
    }
    pub fn text(self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::NotUtf8)
    }
    pub fn double(self) -> Result<f64, WireError> {
        if let Value::Fixed64(bits) = self.value { Ok(f64::from_bits(bits)) } else { self.wrong() }
    }
    pub fn uint(self) -> Result<u64, WireError> {
        if let Value::Varint(number) = self.value { Ok(number) } else { self.wrong() }
    }
    /// `int32` and `int64`: two's complement.
    pub fn int(self) -> Result<i64, WireError> {
        self.uint().map(|number| number as i64)
    }
    /// `sint32` and `sint64`: zigzag.
    pub fn sint(self) -> Result<i64, WireError> {
        self.uint().map(unzigzag)
    }
    /// Doubles, packed or one.
    pub fn doubles(self, into: &mut Vec<f64>) -> Result<(), WireError> {
        match self.value {
            Value::Fixed64(bits) => into.push(f64::from_bits(bits)),
            Value::Bytes(packed) => {
                let (numbers, rest) = packed.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(WireError::CutShort);
                }
                into.extend(numbers.iter().map(|number| f64::from_le_bytes(*number)));
            }
            _ => return self.wrong(),
        }
        Ok(())
    }
    /// Zigzag numbers, packed or one.
    pub fn sints(self, into: &mut Vec<i64>) -> Result<(), WireError> {
        match self.value {
            Value::Varint(number) => into.push(unzigzag(number)),
            Value::Bytes(packed) => {
                let mut reader = Reader::new(packed);
                while !reader.is_empty() {
                    into.push(unzigzag(reader.varint()?));
                }
            }
            _ => return self.wrong(),
        }
        Ok(())
    }
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Walks the fields of a message.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field; none at the end.
    ///
    /// # Errors
    /// The bytes are no message. The reader is of no use after that.
    #[inline]
    pub fn field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or(WireError::BadField)?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.delimited()?),
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireError::BadField),
        };
        Ok(Some(Field { number, value }))
    }

    /// A message with its length before it.
    ///
    /// # Errors
    /// The bytes end before the message does.
    pub fn delimited(&mut self) -> Result<&'a [u8], WireError> {
        let len = usize::try_from(self.varint()?).map_err(|_| WireError::CutShort)?;
        self.take(len)
    }

    /// # Errors
    /// The bytes end within the number, or it has more than ten bytes.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(byte));
        }
        let mut number = 0u64;
        for (at, &byte) in self.rest.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(number);
            }
        }
        Err(if self.rest.len() < 10 { WireError::CutShort } else { WireError::LongVarint })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(WireError::CutShort)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::CutShort)?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_bad_ones_refused() {
        let mut reader = Reader::new(&[0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x18, 0x03]);
        assert_eq!(reader.field().unwrap().unwrap().uint(), Ok(150));
        assert_eq!(reader.field().unwrap().unwrap().text(), Ok("hi"));
        assert_eq!(reader.field().unwrap().unwrap().sint(), Ok(-2));
        assert_eq!(reader.field(), Ok(None));
        for (bytes, why) in [
            (&[0x08][..], WireError::CutShort),
            (&[0x12, 0x7f, 0x00], WireError::CutShort),
            (&[0x00, 0x00], WireError::BadField),
            (&[0x0b, 0x00], WireError::BadField),
            (&[0xff; 11], WireError::LongVarint),
        ] {
            assert_eq!(Reader::new(bytes).field(), Err(why), "{bytes:?}");
        }
        let field = Field { number: 4, value: Value::Varint(1) };
        assert_eq!(field.double(), Err(WireError::WrongType(4)));
    }
}
