//! Messages in the protobuf wire format, read where they lie: nothing is copied, so that what is kept is chosen
//! before it costs memory.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::collections::BTreeMap;

/// The bytes are no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A number, as it is encoded.
    Number(u64),
    /// A text, or a message.
    Bytes(&'a [u8]),
    /// Of a type that no message here uses.
    Other,
}

impl<'a> Value<'a> {
    /// The bytes of a message.
    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Malformed) }
    }

    /// A text.
    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    /// An `int32` or `int64`, which is encoded as the 64 bits of its two's complement.
    pub(crate) fn int(self) -> Result<i64, Malformed> {
        if let Self::Number(number) = self { Ok(number.cast_signed()) } else { Err(Malformed) }
    }
}

/// The fields of a message, in their order; it ends at the first that cannot be read.
pub(crate) struct Fields<'a>(&'a [u8]);

/// The fields of this message.
pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields(message)
}

impl<'a> Iterator for Fields<'a> {
    /// Number and value.
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = decode(&mut self.0);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// The last value of a text field, which is the one that counts; empty where there is none.
pub(crate) fn text(message: &[u8], field: u32) -> Result<&str, Malformed> {
    let mut found = "";
    for item in fields(message) {
        match item? {
            (number, value) if number == field => found = value.text()?,
            _ => {}
        }
    }
    Ok(found)
}

/// The messages of a repeated field.
pub(crate) fn messages(message: &[u8], field: u32) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    fields(message).filter_map(move |item| match item {
        Ok((number, value)) => (number == field).then(|| value.bytes()),
        Err(malformed) => Some(Err(malformed)),
    })
}

/// Those entries of a map of texts whose keys are wanted.
pub(crate) fn entries(
    message: &[u8],
    field: u32,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<&str, &str>, Malformed> {
    let mut found = BTreeMap::new();
    for entry in messages(message, field) {
        let entry = entry?;
        let key = text(entry, 1)?;
        if wanted(key) {
            found.insert(key, text(entry, 2)?);
        }
    }
    Ok(found)
}

/// Takes the next field off the bytes.
fn decode<'a>(rest: &mut &'a [u8]) -> Result<(u32, Value<'a>), Malformed> {
    let (number, kind) = decode_key(rest).map_err(|_| Malformed)?;
    let value = match kind {
        WireType::Varint => Value::Number(decode_varint(rest).map_err(|_| Malformed)?),
        WireType::LengthDelimited => {
            let length = decode_varint(rest).map_err(|_| Malformed)?;
            let length = usize::try_from(length).map_err(|_| Malformed)?;
            let (bytes, after) = rest.split_at_checked(length).ok_or(Malformed)?;
            *rest = after;
            Value::Bytes(bytes)
        }
        kind => {
            skip_field(kind, number, rest, DecodeContext::default()).map_err(|_| Malformed)?;
            Value::Other
        }
    };
    Ok((number, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message as _;

    #[derive(Clone, PartialEq, prost::Message)]
    struct All {
        #[prost(string, tag = "1")]
        text: String,
        #[prost(int32, tag = "2")]
        number: i32,
        #[prost(message, repeated, tag = "3")]
        inner: Vec<All>,
        #[prost(btree_map = "string, string", tag = "4")]
        map: BTreeMap<String, String>,
        #[prost(double, tag = "5")]
        unused: f64,
    }

    fn all() -> All {
        let pairs = [("a", "1"), ("b", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let inner = vec![All { text: "x".to_owned(), ..All::default() }; 2];
        All { text: "é".to_owned(), number: -2, inner, map: pairs.into(), unused: 0.5 }
    }

    #[test]
    fn what_another_encoder_wrote_is_read() {
        let bytes = all().encode_to_vec();
        assert_eq!(text(&bytes, 1), Ok("é"));
        let numbers: Vec<_> = fields(&bytes).filter(|field| matches!(field, Ok((2, _)))).collect();
        assert!(matches!(numbers[..], [Ok((2, value))] if value.int() == Ok(-2)), "{numbers:?}");
        assert_eq!(
            messages(&bytes, 3).map(|inner| text(inner.unwrap(), 1)).collect::<Vec<_>>(),
            [Ok("x"); 2]
        );
        assert_eq!(entries(&bytes, 4, |_| true), Ok([("a", "1"), ("b", "")].into()));
        assert_eq!(entries(&bytes, 4, |key| key == "b"), Ok([("b", "")].into()));
        assert!(fields(&bytes).any(|field| field == Ok((5, Value::Other))));
    }

    #[test]
    fn of_a_text_that_is_there_twice_the_last_counts() {
        let twice =
            [All { text: "a".to_owned(), ..All::default() }, All { text: "b".to_owned(), ..All::default() }];
        let bytes: Vec<u8> = twice.iter().flat_map(prost::Message::encode_to_vec).collect();
        assert_eq!(text(&bytes, 1), Ok("b"));
    }

    #[test]
    fn a_length_beyond_the_end_another_type_and_what_is_no_utf8_are_malformed() {
        for bytes in [
            &b"\x0a\x05a"[..],
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x08\x01",
            b"\x0a\x01\xff",
            b"\x0b",
        ] {
            assert_eq!(text(bytes, 1), Err(Malformed), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(mut bytes in prop::collection::vec(any::<u8>(), 0..64), at in 0..64_usize) {
            prop_assert!(fields(&bytes).count() <= bytes.len());
            // And a good message of which one byte is wrong.
            let mut good = all().encode_to_vec();
            let at = at.min(good.len() - 1);
            good[at] = bytes.pop().unwrap_or(0);
            let _ = (text(&good, 1), entries(&good, 4, |_| true));
            prop_assert!(messages(&good, 3).count() <= good.len());
        }
    }
}
