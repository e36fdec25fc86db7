//! Protobuf messages in the making.

#[derive(Debug, Default, Clone)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn number(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }
    pub fn varint(self, number: u32, value: u64) -> Self {
        self.number(u64::from(number) << 3).number(value)
    }
    pub fn sint(self, number: u32, value: i64) -> Self {
        self.varint(number, ((value << 1) ^ (value >> 63)) as u64)
    }
    pub fn double(self, number: u32, value: f64) -> Self {
        let mut message = self.number(u64::from(number) << 3 | 1);
        message.0.extend(value.to_le_bytes());
        message
    }
    pub fn bytes(self, number: u32, value: &[u8]) -> Self {
        let mut message = self.number(u64::from(number) << 3 | 2).number(value.len() as u64);
        message.0.extend(value);
        message
    }
    pub fn text(self, number: u32, value: &str) -> Self {
        self.bytes(number, value.as_bytes())
    }
    pub fn message(self, number: u32, value: Message) -> Self {
        self.bytes(number, &value.0)
    }
    /// With its length before it.
    pub fn delimited(self) -> Vec<u8> {
        let mut message = Message::default().number(self.0.len() as u64);
        message.0.extend(self.0);
        message.0
    }
}
