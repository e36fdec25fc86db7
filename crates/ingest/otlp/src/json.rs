//! OTLP's JSON as protocol buffers: rewritten while it is parsed, by a table of messages, so that there
//! is one mapping to metrics and no tree of values.
//!
//! As OTLP 1.x has it: names in lowerCamelCase, unknown ones ignored; 64-bit numbers as texts or
//! numbers; trace and span ids in hex; enums as numbers (their names are taken too).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{
    Error,
    wire::{begin_message, end_message, put_bytes, put_key, put_varint},
};

/// What the binary form may be larger by: `0,` in a list becomes nine bytes.
const GROWTH_MAX: usize = 5;

/// Bytes that the binary form of `json` may take, when it may take `limit` at most.
pub(crate) fn bytes_max(json: &[u8], limit: usize) -> usize {
    json.len().saturating_mul(GROWTH_MAX).min(limit)
}

/// The binary form of `json`, an `ExportMetricsServiceRequest`, in at most `limit` bytes.
pub(crate) fn to_protobuf(json: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(json.len().min(limit));
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let read = MessageSeed { message: &REQUEST, out: &mut out, limit }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match read {
        _ if out.len() > limit => Err(Error::TooLarge { what: "in binary form", limit }),
        Ok(()) => Ok(out),
        Err(error) => Err(Error::Malformed { why: error.to_string() }),
    }
}

type Field = (&'static str, u32, Kind);

struct Message {
    fields: &'static [Field],
}

#[derive(Clone, Copy)]
enum Kind {
    One(&'static Message),
    Many(&'static Message),
    Text,
    Base64,
    Hex,
    Bool,
    Double,
    Fixed64,
    Varint,
    Sint32,
    Temporality,
    Doubles,
    Fixed64s,
    Varints,
}

use Kind::{
    Base64, Bool, Double, Doubles, Fixed64, Fixed64s, Hex, Many, One, Sint32, Temporality, Text, Varint,
    Varints,
};

static REQUEST: Message = Message { fields: &[("resourceMetrics", 1, Many(&RESOURCE_METRICS))] };
static RESOURCE_METRICS: Message = Message {
    fields: &[
        ("resource", 1, One(&RESOURCE)),
        ("scopeMetrics", 2, Many(&SCOPE_METRICS)),
        ("schemaUrl", 3, Text),
    ],
};
static RESOURCE: Message = Message { fields: &[("attributes", 1, Many(&KEY_VALUE))] };
static SCOPE_METRICS: Message =
    Message { fields: &[("scope", 1, One(&SCOPE)), ("metrics", 2, Many(&METRIC)), ("schemaUrl", 3, Text)] };
static SCOPE: Message =
    Message { fields: &[("name", 1, Text), ("version", 2, Text), ("attributes", 3, Many(&KEY_VALUE))] };
static METRIC: Message = Message {
    fields: &[
        ("name", 1, Text),
        ("description", 2, Text),
        ("unit", 3, Text),
        ("gauge", 5, One(&GAUGE)),
        ("sum", 7, One(&SUM)),
        ("histogram", 9, One(&HISTOGRAM)),
        ("exponentialHistogram", 10, One(&EXPONENTIAL)),
        ("summary", 11, One(&SUMMARY)),
    ],
};
static GAUGE: Message = Message { fields: &[("dataPoints", 1, Many(&NUMBER))] };
static SUM: Message = Message {
    fields: &[
        ("dataPoints", 1, Many(&NUMBER)),
        ("aggregationTemporality", 2, Temporality),
        ("isMonotonic", 3, Bool),
    ],
};
static HISTOGRAM: Message = Message {
    fields: &[("dataPoints", 1, Many(&HISTOGRAM_POINT)), ("aggregationTemporality", 2, Temporality)],
};
static EXPONENTIAL: Message = Message {
    fields: &[("dataPoints", 1, Many(&EXPONENTIAL_POINT)), ("aggregationTemporality", 2, Temporality)],
};
static SUMMARY: Message = Message { fields: &[("dataPoints", 1, Many(&SUMMARY_POINT))] };
static NUMBER: Message = Message {
    fields: &[
        ("startTimeUnixNano", 2, Fixed64),
        ("timeUnixNano", 3, Fixed64),
        ("asDouble", 4, Double),
        ("exemplars", 5, Many(&EXEMPLAR)),
        ("asInt", 6, Fixed64),
        ("attributes", 7, Many(&KEY_VALUE)),
        ("flags", 8, Varint),
    ],
};
static HISTOGRAM_POINT: Message = Message {
    fields: &[
        ("startTimeUnixNano", 2, Fixed64),
        ("timeUnixNano", 3, Fixed64),
        ("count", 4, Fixed64),
        ("sum", 5, Double),
        ("bucketCounts", 6, Fixed64s),
        ("explicitBounds", 7, Doubles),
        ("exemplars", 8, Many(&EXEMPLAR)),
        ("attributes", 9, Many(&KEY_VALUE)),
        ("flags", 10, Varint),
        ("min", 11, Double),
        ("max", 12, Double),
    ],
};
static EXPONENTIAL_POINT: Message = Message {
    fields: &[
        ("attributes", 1, Many(&KEY_VALUE)),
        ("startTimeUnixNano", 2, Fixed64),
        ("timeUnixNano", 3, Fixed64),
        ("count", 4, Fixed64),
        ("sum", 5, Double),
        ("scale", 6, Sint32),
        ("zeroCount", 7, Fixed64),
        ("positive", 8, One(&BUCKETS)),
        ("negative", 9, One(&BUCKETS)),
        ("flags", 10, Varint),
        ("exemplars", 11, Many(&EXEMPLAR)),
        ("min", 12, Double),
        ("max", 13, Double),
        ("zeroThreshold", 14, Double),
    ],
};
static BUCKETS: Message = Message { fields: &[("offset", 1, Sint32), ("bucketCounts", 2, Varints)] };
static SUMMARY_POINT: Message = Message {
    fields: &[
        ("startTimeUnixNano", 2, Fixed64),
        ("timeUnixNano", 3, Fixed64),
        ("count", 4, Fixed64),
        ("sum", 5, Double),
        ("quantileValues", 6, Many(&QUANTILE)),
        ("attributes", 7, Many(&KEY_VALUE)),
        ("flags", 8, Varint),
    ],
};
static QUANTILE: Message = Message { fields: &[("quantile", 1, Double), ("value", 2, Double)] };
static EXEMPLAR: Message = Message {
    fields: &[
        ("timeUnixNano", 2, Fixed64),
        ("asDouble", 3, Double),
        ("spanId", 4, Hex),
        ("traceId", 5, Hex),
        ("asInt", 6, Fixed64),
        ("filteredAttributes", 7, Many(&KEY_VALUE)),
    ],
};
static KEY_VALUE: Message = Message { fields: &[("key", 1, Text), ("value", 2, One(&ANY))] };
static ANY: Message = Message {
    fields: &[
        ("stringValue", 1, Text),
        ("boolValue", 2, Bool),
        ("intValue", 3, Varint),
        ("doubleValue", 4, Double),
        ("arrayValue", 5, One(&LIST)),
        ("kvlistValue", 6, One(&MAP)),
        ("bytesValue", 7, Base64),
    ],
};
static LIST: Message = Message { fields: &[("values", 1, Many(&ANY))] };
static MAP: Message = Message { fields: &[("values", 1, Many(&KEY_VALUE))] };

struct MessageSeed<'o> {
    message: &'static Message,
    out: &'o mut Vec<u8>,
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.message.fields.iter().find(|field| field.0 == key) {
                Some(&(_, number, kind)) => {
                    map.next_value_seed(FieldSeed { number, kind, out: &mut *self.out, limit: self.limit })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct FieldSeed<'o> {
    number: u32,
    kind: Kind,
    out: &'o mut Vec<u8>,
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        if self.out.len() > self.limit {
            return Err(de::Error::custom("too large"));
        }
        from.deserialize_any(self)
    }
}

impl FieldSeed<'_> {
    fn integer<E: de::Error>(self, value: i128) -> Result<(), E> {
        let range = || E::custom(format_args!("{value} is out of range"));
        let wide = || u64::try_from(value).or_else(|_| i64::try_from(value).map(|value| value as u64));
        match self.kind {
            Double | Doubles => return self.double(value as f64),
            Fixed64 | Fixed64s => self.fixed64(wide().map_err(|_| range())?),
            Varint | Varints | Temporality => {
                put_key(self.out, self.number, 0);
                put_varint(self.out, wide().map_err(|_| range())?);
            }
            Sint32 => {
                let value = i32::try_from(value).map_err(|_| range())?;
                put_key(self.out, self.number, 0);
                put_varint(self.out, u64::from(((value << 1) ^ (value >> 31)) as u32));
            }
            _ => return Err(E::custom("a number stands where none may")),
        }
        Ok(())
    }

    fn fixed64(self, bits: u64) {
        put_key(self.out, self.number, 1);
        self.out.extend_from_slice(&bits.to_le_bytes());
    }

    fn double<E: de::Error>(self, value: f64) -> Result<(), E> {
        match self.kind {
            Double | Doubles => self.fixed64(value.to_bits()),
            _ if value.fract() == 0.0 && value.abs() < 1e18 => return self.integer(value as i128),
            _ => return Err(E::custom("a fraction stands where none may")),
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            One(_) => "an object",
            Many(_) | Doubles | Fixed64s | Varints => "a list",
            Text | Base64 | Hex => "a text",
            Bool => "true or false",
            _ => "a number",
        })
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        if !matches!(self.kind, Bool) {
            return Err(E::custom("true or false stands where it may not"));
        }
        put_key(self.out, self.number, 0);
        put_varint(self.out, u64::from(value));
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.integer(i128::from(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.integer(i128::from(value))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.double(value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        match self.kind {
            Text => put_bytes(self.out, self.number, text.as_bytes()),
            Base64 => {
                let bytes = STANDARD.decode(text).map_err(|_| E::custom("a text is no base64"))?;
                put_bytes(self.out, self.number, &bytes);
            }
            Hex => {
                let bytes = hex::decode(text).map_err(|_| E::custom("an id is no hex"))?;
                put_bytes(self.out, self.number, &bytes);
            }
            Temporality => {
                let value = match text {
                    "AGGREGATION_TEMPORALITY_DELTA" => 1,
                    "AGGREGATION_TEMPORALITY_CUMULATIVE" => 2,
                    "AGGREGATION_TEMPORALITY_UNSPECIFIED" => 0,
                    other => other.parse().map_err(|_| E::custom("an unknown aggregation temporality"))?,
                };
                return self.integer(value);
            }
            Double | Doubles => {
                let value = match text {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    other => other.parse().map_err(|_| E::custom("a text is no number"))?,
                };
                return self.double(value);
            }
            Fixed64 | Fixed64s | Varint | Varints | Sint32 => {
                let value = text.parse().map_err(|_| E::custom("a text is no whole number"))?;
                return self.integer(value);
            }
            One(_) | Many(_) | Bool => return Err(E::custom("a text stands where none may")),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        match self.kind {
            Many(message) => {
                while list
                    .next_element_seed(NestedSeed {
                        number: self.number,
                        message,
                        out: &mut *self.out,
                        limit: self.limit,
                    })?
                    .is_some()
                {}
            }
            Doubles | Fixed64s | Varints => {
                let Self { number, kind, out, limit } = self;
                while list.next_element_seed(FieldSeed { number, kind, out: &mut *out, limit })?.is_some() {}
            }
            _ => return Err(de::Error::custom("a list stands where none may")),
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let One(message) = self.kind else {
            return Err(de::Error::custom("an object stands where none may"));
        };
        nested((self.number, message), self.out, self.limit, map)
    }
}

/// One message in a list of them.
struct NestedSeed<'o> {
    number: u32,
    message: &'static Message,
    out: &'o mut Vec<u8>,
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for NestedSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for NestedSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        nested((self.number, self.message), self.out, self.limit, map)
    }
}

fn nested<'de, A: MapAccess<'de>>(
    (number, message): (u32, &'static Message),
    out: &mut Vec<u8>,
    limit: usize,
    map: A,
) -> Result<(), A::Error> {
    if out.len() > limit {
        return Err(de::Error::custom("too large"));
    }
    let start = begin_message(out, number);
    MessageSeed { message, out: &mut *out, limit }.visit_map(map)?;
    end_message(out, start);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Fields;

    #[test]
    fn a_request_is_rewritten() {
        let json =
            br#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"a","value":{"intValue":"-1"}}]},
            "unknown":{"x":[1,2]},"scopeMetrics":null}]}"#;
        let bytes = to_protobuf(json, 1_000).unwrap();
        let resource_metrics = Fields::of(&bytes).next_message(1).unwrap().unwrap();
        let resource = Fields::of(resource_metrics).next_message(1).unwrap().unwrap();
        let attribute = crate::any::Attribute::read(Fields::of(resource).next_message(1).unwrap().unwrap());
        let mut value = String::new();
        attribute.unwrap().write_value(&mut value).unwrap();
        assert_eq!(value, "-1");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (json, said) in [
            (r#"{"resourceMetrics":1}"#, "number"),
            (r#"{"resourceMetrics":[{"schemaUrl":true}]}"#, "true or false"),
            (r#"{"resourceMetrics":[{}"#, "EOF"),
            ("[]", "an object"),
            (r#"{} x"#, "trailing"),
        ] {
            let error = to_protobuf(json.as_bytes(), 1_000).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("line"), "{json}: {error}");
        }
    }

    #[test]
    fn the_binary_form_is_bounded_while_it_grows() {
        let zeros = "0,".repeat(10_000);
        let json = format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[
                {{"explicitBounds":[{zeros}0]}}]}}}}]}}]}}]}}"#
        );
        let whole = to_protobuf(json.as_bytes(), usize::MAX).unwrap();
        assert!(whole.len() <= bytes_max(json.as_bytes(), usize::MAX), "{} of {}", whole.len(), json.len());
        let got = to_protobuf(json.as_bytes(), 1_000);
        assert_eq!(got, Err(Error::TooLarge { what: "in binary form", limit: 1_000 }));
        let objects = format!(r#"{{"resourceMetrics":[{}{{}}]}}"#, "{},".repeat(10_000));
        assert!(to_protobuf(objects.as_bytes(), 1_000).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!(
            r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"a","value":{}{}}}]}}}}]}}"#,
            r#"{"arrayValue":{"values":["#.repeat(100),
            "]}}".repeat(100)
        );
        assert!(to_protobuf(deep.as_bytes(), 100_000).unwrap_err().to_string().contains("recursion"));
    }
}
