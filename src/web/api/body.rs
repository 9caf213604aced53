//! Request bodies: JSON objects of a bounded length, read strictly, and refused without repeating what was sent, which may
//! be a key.

use std::{fmt, marker::PhantomData};

use axum::body::Body;
use http::{HeaderMap, header};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::Served;
use crate::{
    refusal::{Refusal, TooLarge},
    web::BODY_LIMIT,
};

/// Reads a body. `shape` shows what it should look like.
pub(super) async fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Body, shape: &'static str) -> Served<T> {
    if !says_json(headers) {
        return Err(Refusal::bad_request("The body must be JSON, with Content-Type: application/json"));
    }
    let bytes = axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|_| Refusal::too_large(TooLarge::Body))?;
    match serde_json::from_slice(&bytes) {
        Ok(Object(value)) => Ok(value),
        Err(_) => Err(Refusal::bad_request(format!("The body must be JSON like {shape}"))),
    }
}

/// Whether the body may be JSON by its `Content-Type` (RFC 9110 §8.3). Without one, it is tried.
fn says_json(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_TYPE).iter().all(|value| {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    })
}

/// A `T` written as a JSON object. By itself serde reads a structure from a list of its members' values, too.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(types: &[&'static str]) -> HeaderMap {
        types.iter().map(|value| (header::CONTENT_TYPE, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_what_calls_itself_json_or_nothing_is_read() {
        for good in [&[][..], &["application/json"], &["Application/JSON; charset=utf-8"]] {
            assert!(says_json(&with(good)), "{good:?}");
        }
        for bad in
            [&["text/plain"][..], &[""], &["application/x-www-form-urlencoded"], &["application/json", "text/html"]]
        {
            assert!(!says_json(&with(bad)), "{bad:?}");
        }
    }

    #[test]
    fn a_list_of_values_is_no_object() {
        #[derive(Deserialize)]
        struct Point {
            x: u8,
        }
        let read = |text: &str| serde_json::from_str::<Object<Point>>(text).map(|Object(point)| point.x);
        assert_eq!(read(r#"{"x": 1}"#).unwrap(), 1);
        assert!(serde_json::from_str::<Point>("[1]").is_ok_and(|point| point.x == 1), "serde has changed");
        for bad in ["[1]", "1", "null", r#"{"x": 1, "x": 1}"#, r#"{"x": 1} {}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
