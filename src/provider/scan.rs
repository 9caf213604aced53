//! Finds values by JSON pointer in the first bytes of a body. What comes before a cut or a fault is found all the same,
//! and nothing is kept but what was asked for.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON pointer (RFC 6901) taken apart; the segment `*` stands for any member or element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// `""` is the whole document, everything else begins with a slash.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        let rest = text.strip_prefix('/')?;
        Some(Self(rest.split('/').map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect()))
    }

    fn matches(&self, path: &[String]) -> bool {
        self.0.len() == path.len() && self.0.iter().zip(path).all(|(wanted, at)| wanted == "*" || wanted == at)
    }

    /// The same, and any element of the list that stands there.
    pub(super) fn each(&self) -> Self {
        Self(self.0.iter().cloned().chain(["*".to_owned()]).collect())
    }
}

/// The scalars at each pointer, as text; objects and lists count as an empty text. In the order of the body.
pub(super) fn scan(body: &[u8], pointers: &[&Pointer]) -> Vec<Vec<String>> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut found = vec![Vec::new(); pointers.len()];
    let mut walk = Walk { path: Vec::new(), pointers, found: &mut found };
    // A cut is no failure here: whatever stood before it has been seen.
    let _cut = Node(&mut walk).deserialize(&mut serde_json::Deserializer::from_slice(body));
    found
}

/// The scalars at these pointers, as text, in the order of the document; empty ones and malformed pointers say nothing.
pub fn texts<'a>(document: &[u8], pointers: impl Iterator<Item = &'a str>) -> Vec<String> {
    let pointers: Vec<Pointer> = pointers.filter_map(Pointer::parse).collect();
    let found = scan(document, &pointers.iter().collect::<Vec<_>>());
    found.into_iter().flatten().filter(|text| !text.is_empty()).collect()
}

struct Walk<'a> {
    path: Vec<String>,
    pointers: &'a [&'a Pointer],
    found: &'a mut [Vec<String>],
}

impl Walk<'_> {
    fn see(&mut self, text: impl fmt::Display) {
        for (pointer, found) in self.pointers.iter().zip(self.found.iter_mut()) {
            if pointer.matches(&self.path) {
                found.push(text.to_string());
            }
        }
    }
}

/// One JSON value.
struct Node<'w, 'a>(&'w mut Walk<'a>);

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.see(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.see(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.see(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.see(value);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.0.see(value);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.see("null");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.see("");
        let mut index = 0_usize;
        loop {
            self.0.path.push(index.to_string());
            let more = list.next_element_seed(Node(self.0))?;
            self.0.path.pop();
            if more.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.see("");
        while let Some(key) = map.next_key::<String>()? {
            self.0.path.push(key);
            map.next_value_seed(Node(self.0))?;
            self.0.path.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(body: &str, pointer: &str) -> Vec<String> {
        scan(body.as_bytes(), &[&Pointer::parse(pointer).unwrap()]).remove(0)
    }

    #[test]
    fn values_are_found_where_a_pointer_says() {
        let body = r#"{"ok":false,"n":4711,"e":{"d":[{"r":"A"},{"r":"B"}]},"a/b":"s","z":null}"#;
        assert_eq!(find(body, "/ok"), ["false"]);
        assert_eq!(find(body, "/n"), ["4711"]);
        assert_eq!(find(body, "/e/d/*/r"), ["A", "B"]);
        assert_eq!(find(body, "/e/d/1/r"), ["B"]);
        assert_eq!(find(body, "/a~1b"), ["s"]);
        assert_eq!(find(body, "/e"), [""]);
        assert_eq!(find(body, "/none"), [""; 0]);
        assert_eq!(find("\u{feff}{\"a\":1}", "/a"), ["1"]);
    }

    #[test]
    fn a_cut_takes_away_only_what_comes_after_it() {
        let body = r#"{"ok":false,"error":"missing_scope","needed":"chat:write"#;
        assert_eq!(find(body, "/error"), ["missing_scope"]);
        assert_eq!(find(body, "/needed"), [""; 0]);
        assert_eq!(find(r#"[{"a":1},{"a"#, "/*/a"), ["1"]);
    }

    #[test]
    fn no_body_is_too_odd() {
        for body in ["", "<html>", "\u{0}", "{\"a\":1e999}", &"[".repeat(8192), &"{\"a\":".repeat(1500)] {
            assert!(find(body, "/b").is_empty(), "{body:.20}");
        }
    }

    #[test]
    fn pointers_begin_with_a_slash() {
        assert!(Pointer::parse("a").is_none());
        assert!(Pointer::parse("").is_some());
    }
}
