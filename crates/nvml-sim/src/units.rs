//! Durations and sizes as a scenario spells them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A duration, or a moment relative to the anchor, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// Electrical power, in milliwatts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Milliwatts(pub u64);

const DURATION_UNITS: &[(&str, f64)] =
    &[("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6), ("h", 3600e6), ("d", 86_400e6)];
const SIZE_UNITS: &[(&str, f64)] = &[
    ("B", 1.0),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];
const POWER_UNITS: &[(&str, f64)] = &[("mW", 1.0), ("W", 1e3), ("kW", 1e6)];
/// NVML's figures of power are 32 bits of milliwatts.
const STRONGEST: f64 = 4e9;
/// A century: enough for every scenario, and far from overflow when moments are added.
const LONGEST: f64 = 100.0 * 365.25 * 86_400e6;
/// Above every card, and below the first integer that `f64` cannot hold.
const LARGEST: f64 = 9_007_199_254_740_992.0;

impl Micros {
    /// From `"1500ms"`, `"90s"`, `"10m"`, `"2h"`, `"-1h"`; a bare number is seconds.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let unit = if unit.is_empty() { "s" } else { unit };
        scale(number, unit, DURATION_UNITS).and_then(Self::from_f64).ok_or_else(|| {
            format!("`{text}` is not a duration such as 1500ms, 90s, 10m, 2h or a number of seconds")
        })
    }

    /// From a number of seconds.
    pub fn from_seconds(seconds: f64) -> Result<Self, String> {
        Self::from_f64(seconds * 1e6).ok_or_else(|| format!("{seconds} seconds are not within a century"))
    }

    fn from_f64(micros: f64) -> Option<Self> {
        (micros.abs() <= LONGEST).then(|| Self(micros.round() as i64))
    }
}

impl Bytes {
    /// From `"80GiB"`, `"500MiB"`, `"1.5KiB"`; a bare number is bytes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let unit = if unit.is_empty() { "B" } else { unit };
        scale(number, unit, SIZE_UNITS)
            .and_then(Self::from_f64)
            .ok_or_else(|| format!("`{text}` is not a size such as 80GiB, 500MiB, 1KiB or a number of bytes"))
    }

    fn from_f64(bytes: f64) -> Option<Self> {
        (0.0..LARGEST).contains(&bytes).then(|| Self(bytes.round() as u64))
    }
}

impl Milliwatts {
    /// From `"60W"`, `"0.7kW"`, `"1500mW"`; a bare number is watts.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let unit = if unit.is_empty() { "W" } else { unit };
        scale(number, unit, POWER_UNITS)
            .and_then(Self::from_f64)
            .ok_or_else(|| format!("`{text}` is not a power such as 60W, 0.7kW or a number of watts"))
    }

    fn from_f64(milliwatts: f64) -> Option<Self> {
        (0.0..=STRONGEST).contains(&milliwatts).then(|| Self(milliwatts.round() as u64))
    }
}

/// The number and the unit of a text such as `"1.5 GiB"`.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    (text[..end].trim_end(), &text[end..])
}

fn scale(number: &str, unit: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<f64>().ok().map(|value| value * factor)
}

/// Takes a number or a text.
struct Reader<T> {
    expecting: &'static str,
    number: fn(f64) -> Result<T, String>,
    text: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        (self.number)(value as f64).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        (self.number)(value as f64).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        (self.number)(value).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        (self.text)(value).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number, text) = (Self::from_seconds, Self::parse);
        deserializer.deserialize_any(Reader {
            expecting: "a duration such as 1500ms, 90s, 10m or 2h",
            number,
            text,
        })
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader {
            expecting: "a size such as 80GiB or 500MiB",
            number: |bytes| Self::from_f64(bytes).ok_or_else(|| format!("{bytes} is not a number of bytes")),
            text: Self::parse,
        })
    }
}

impl<'de> Deserialize<'de> for Milliwatts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader {
            expecting: "a power such as 60W",
            number: |watts| {
                Self::from_f64(watts * 1e3).ok_or_else(|| format!("{watts} is not a number of watts"))
            },
            text: Self::parse,
        })
    }
}

/// Memory that a process holds on a device, as the driver reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A known figure.
    Known(Bytes),
    /// The driver cannot tell (`usedGpuMemory` is `ULLONG_MAX`).
    Unavailable,
}

impl Memory {
    /// The figure, where there is one.
    pub fn bytes(self) -> Option<u64> {
        match self {
            Self::Known(Bytes(bytes)) => Some(bytes),
            Self::Unavailable => None,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::Known(Bytes(0))
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader {
            expecting: "a size such as 8GiB, or `unavailable`",
            number: |bytes| {
                let known = Bytes::from_f64(bytes).map(Self::Known);
                known.ok_or_else(|| format!("{bytes} is not a number of bytes"))
            },
            text: |text| match text {
                "unavailable" => Ok(Self::Unavailable),
                size => Bytes::parse(size).map(Self::Known),
            },
        })
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    impl JsonSchema for super::Micros {
        fn schema_name() -> Cow<'static, str> {
            "Duration".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": ["string", "number"],
                "pattern": r"^\s*[-+]?[0-9]*\.?[0-9]+\s*(us|ms|s|m|h|d)?$",
                "description": "A duration: 1500ms, 90s, 10m, 2h; a bare number is seconds."
            })
        }
    }

    impl JsonSchema for super::Bytes {
        fn schema_name() -> Cow<'static, str> {
            "Size".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": ["string", "number"],
                "pattern": r"^\s*[0-9]*\.?[0-9]+\s*(B|KiB|MiB|GiB|TiB)?$",
                "minimum": 0,
                "description": "A size: 80GiB, 500MiB; a bare number is bytes."
            })
        }
    }

    impl JsonSchema for super::Milliwatts {
        fn schema_name() -> Cow<'static, str> {
            "Watts".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": ["string", "number"],
                "pattern": r"^\s*[0-9]*\.?[0-9]+\s*(mW|W|kW)?$",
                "minimum": 0,
                "description": "A power: 60W, 0.7kW; a bare number is watts."
            })
        }
    }

    impl JsonSchema for super::Memory {
        fn schema_name() -> Cow<'static, str> {
            "Memory".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": ["string", "number"],
                "pattern": r"^(unavailable|\s*[0-9]*\.?[0-9]+\s*(B|KiB|MiB|GiB|TiB)?)$",
                "minimum": 0,
                "description": "A size, or `unavailable` where the driver cannot tell."
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, micros) in [
            ("1500ms", 1_500_000),
            ("90s", 90_000_000),
            ("10m", 600_000_000),
            ("2h", 7_200_000_000),
            ("-3600s", -3_600_000_000),
            ("1.5s", 1_500_000),
            ("7", 7_000_000),
            ("0.25", 250_000),
            ("10us", 10),
            (" 3 s", 3_000_000),
        ] {
            assert_eq!(Micros::parse(text), Ok(Micros(micros)), "{text}");
        }
        for text in ["", "s", "10 parsecs", "1h30m", "nan", "1e30s", "inf", "--1s"] {
            assert!(Micros::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("80GiB", 80 << 30),
            ("500MiB", 500 << 20),
            ("1.5KiB", 1536),
            ("12", 12),
            ("0B", 0),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(Bytes::parse(text), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "GiB", "80GB", "-1GiB", "80gib", "9999999TiB"] {
            assert!(Bytes::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn powers() {
        for (text, milliwatts) in
            [("60W", 60_000), ("0.7kW", 700_000), ("1500mW", 1500), ("7", 7000), ("0W", 0)]
        {
            assert_eq!(Milliwatts::parse(text), Ok(Milliwatts(milliwatts)), "{text}");
        }
        for text in ["", "W", "60w", "-1W", "5MW", "5000kW"] {
            assert!(Milliwatts::parse(text).is_err(), "{text}");
        }
    }
}
