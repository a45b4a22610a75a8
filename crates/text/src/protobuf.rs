//! The wire format of Protocol Buffers, read-only: fields of a message one after another, without copying.
//! Follows the encoding specification (varint, 64-bit, length-delimited, 32-bit). No schema, no groups, no writing.

/// What is wrong, and at which byte of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub offset: usize,
    pub reason: &'static str,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

impl<'a> Value<'a> {
    pub fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub fn int(self) -> Option<i32> {
        // Negative 32-bit numbers are sent as 64-bit ones: the low half is the number.
        if let Self::Varint(n) = self { Some(n as i32) } else { None }
    }

    pub fn float(self) -> Option<f32> {
        if let Self::Fixed32(b) = self { Some(f32::from_le_bytes(b)) } else { None }
    }
}

/// Walks the fields of one message. Every step reads at least one byte, so it ends.
pub(crate) struct Fields<'a> {
    message: &'a [u8],
    position: usize,
}

impl<'a> Fields<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        Self { message, position: 0 }
    }

    /// Where the next field starts.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The next field's number and value.
    pub fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Broken> {
        if self.position == self.message.len() {
            return Ok(None);
        }
        let start = self.position;
        let key = self.varint()?;
        let broken = |reason| Broken { offset: start, reason };
        if key >> 3 == 0 {
            return Err(broken("a field has the number 0"));
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| broken("a field is longer than the memory"))?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32([bytes[0], bytes[1], bytes[2], bytes[3]])
            }
            _ => return Err(broken("a field has an unknown wire type")),
        };
        Ok(Some((key >> 3, value)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let rest = &self.message[self.position..];
        if length > rest.len() {
            return Err(Broken { offset: self.position, reason: "a field is longer than the rest of the file" });
        }
        self.position += length;
        Ok(&rest[..length])
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        let start = self.position;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.message.get(self.position) else {
                return Err(Broken { offset: start, reason: "the file ends inside a number" });
            };
            self.position += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Broken { offset: start, reason: "a number has more than ten bytes" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_wire_type() {
        let message =
            [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f, 0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0x28, 0];
        let mut fields = Fields::new(&message);
        assert_eq!(fields.next(), Ok(Some((1, Value::Varint(150)))));
        assert_eq!(fields.next().unwrap().unwrap().1.bytes(), Some(&b"hi"[..]));
        assert_eq!(fields.next().unwrap().unwrap().1.float(), Some(1.0));
        assert_eq!(fields.next(), Ok(Some((4, Value::Fixed64))));
        assert_eq!(fields.next().unwrap().unwrap().1.int(), Some(0));
        assert_eq!(fields.next(), Ok(None));
        assert_eq!(Value::Varint(u64::MAX).int(), Some(-1));
    }

    #[test]
    fn hostile_lengths_are_refused() {
        for message in [
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..],
            &[0x0a, 5, 1, 2],
            &[0x80; 11],
            &[0x80],
            &[0x00, 0x00],
            &[0x0b],
            &[0x0d, 1, 2],
            &[0x09, 1, 2, 3],
        ] {
            assert!(Fields::new(message).next().is_err(), "{message:?}");
        }
    }
}
