//! Bodies of the API server's answers, bounded before they are read into objects, which are many times as large.

use super::problem::{Slow, TooLarge};
use crate::pods::MAX_PODS;
use http::Response;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, Limited, StreamBody};
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt::{Formatter, Result as Written};
use std::time::Duration;
use tokio_stream::StreamExt as _;
use tonic::codegen::{Body, Bytes};
use tower::BoxError;

/// Largest list that is read.
const MAX_LIST: usize = 32 << 20;
/// Most objects of a list that is read: what is more than is kept need not be told to the last one.
const MAX_OBJECTS: usize = 2 * MAX_PODS;
/// Largest answer that says why there is no other.
const MAX_REFUSAL: usize = 1 << 20;
/// Largest event of a watch that is read: the server stores no object of more than some 1.5 MiB.
const MAX_EVENT: usize = 4 << 20;
/// All events of a watch of two minutes.
const MAX_WATCH: usize = 64 << 20;
/// Longest wait for a whole answer that is no watch.
const LIMIT: Duration = Duration::from_secs(30);

/// A body that is small enough.
pub(super) type Bounded = UnsyncBoxBody<Bytes, BoxError>;

/// The answer, if it is small enough; that of a watch as it comes.
pub(super) async fn bounded<B>(answer: Response<B>, is_watch: bool) -> Result<Response<Bounded>, BoxError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (head, body) = answer.into_parts();
    let is_good = head.status.is_success();
    if is_watch && is_good {
        return Ok(Response::from_parts(head, events(Limited::new(body, MAX_WATCH))));
    }
    let limit = if is_good { MAX_LIST } else { MAX_REFUSAL };
    let whole = tokio::time::timeout(LIMIT, Limited::new(body, limit).collect());
    let bytes = whole.await.map_err(|_| Slow(LIMIT))??.to_bytes();
    if has_too_many(&bytes) {
        return Err(TooLarge::Objects(MAX_OBJECTS).into());
    }
    Ok(Response::from_parts(head, Full::new(bytes).map_err(|never| match never {}).boxed_unsync()))
}

/// The events of a watch, one a line, until one is too large.
fn events<B>(body: B) -> Bounded
where
    B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    let mut length = 0;
    let pieces = BodyStream::new(body).map(move |piece| {
        let piece = piece?;
        for part in piece.data_ref().into_iter().flat_map(|data| data.split_inclusive(|byte| *byte == b'\n'))
        {
            length += part.len();
            if length > MAX_EVENT {
                return Err(TooLarge::Event(MAX_EVENT).into());
            }
            if part.ends_with(b"\n") {
                length = 0;
            }
        }
        Ok(piece)
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// Whether a list has more objects than are read. What is no list has none.
fn has_too_many(list: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct List {
        #[serde(default, rename = "items")]
        _items: Count,
    }
    let counted = serde_json::from_slice::<List>(list);
    counted.is_err_and(|error| error.to_string().starts_with(TOO_MANY))
}

const TOO_MANY: &str = "more objects than are read";

/// Objects that were counted and not kept.
#[derive(Default)]
struct Count;

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Objects;
        impl<'de> Visitor<'de> for Objects {
            type Value = Count;

            fn expecting(&self, to: &mut Formatter<'_>) -> Written {
                to.write_str("a list of objects")
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Count, E> {
                Ok(Count)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while let Some(IgnoredAny) = list.next_element()? {
                    count += 1;
                    if count > MAX_OBJECTS {
                        return Err(A::Error::custom(TOO_MANY));
                    }
                }
                Ok(Count)
            }
        }
        deserializer.deserialize_any(Objects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    /// Bytes that get through, or what is said of them.
    fn read(status: u16, is_watch: bool, body: &[u8]) -> Result<usize, String> {
        let pieces: Vec<Bytes> = body.chunks(1 << 20).map(Bytes::copy_from_slice).collect();
        let frames = pieces.into_iter().map(|piece| Ok::<_, BoxError>(hyper::body::Frame::data(piece)));
        let body = StreamBody::new(tokio_stream::iter(frames));
        let answer = Response::builder().status(status).body(body).unwrap();
        run(async {
            let answer = bounded(answer, is_watch).await.map_err(|e| e.to_string())?;
            let body = answer.into_body().collect().await.map_err(|e| e.to_string())?;
            Ok(body.to_bytes().len())
        })
    }

    fn list(objects: usize) -> Vec<u8> {
        format!(r#"{{"metadata":{{}},"items":[{}{{}}]}}"#, "{},".repeat(objects - 1)).into_bytes()
    }

    #[test]
    fn a_list_of_too_many_objects_or_bytes_is_not_read() {
        assert_eq!(read(200, false, &list(MAX_OBJECTS)), Ok(list(MAX_OBJECTS).len()));
        let many = read(200, false, &list(MAX_OBJECTS + 1)).unwrap_err();
        assert!(many.contains("20000 objects"), "{many}");
        let mut broken = list(MAX_OBJECTS + 1);
        broken.truncate(broken.len() - 2);
        assert_eq!(read(200, false, &broken), Err(many), "nor one that is broken after them");
        assert_eq!(read(200, false, &vec![b' '; MAX_LIST]), Ok(MAX_LIST));
        assert!(read(200, false, &vec![b' '; MAX_LIST + 1]).is_err());
    }

    #[test]
    fn a_refusal_may_be_short_only() {
        assert_eq!(read(403, false, &vec![b' '; MAX_REFUSAL]), Ok(MAX_REFUSAL));
        assert!(read(403, true, &vec![b' '; MAX_REFUSAL + 1]).is_err());
    }

    #[test]
    fn the_events_of_a_watch_may_be_many_and_each_as_large_as_an_object_is() {
        let event = |length: usize| [vec![b' '; length - 1], vec![b'\n']].concat();
        let many = event(MAX_EVENT).repeat(3);
        assert_eq!(read(200, true, &many), Ok(many.len()));
        let said = read(200, true, &[many, event(MAX_EVENT + 1)].concat()).unwrap_err();
        assert!(said.contains("4 MiB"), "{said}");
    }
}
