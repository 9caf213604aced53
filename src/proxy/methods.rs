//! The methods that a call is judged as. Servers compare methods in upper case or as they came, serve `HEAD` as `GET`, and
//! many take a header's word for another one; so a standard method has one spelling, and whatever a header names counts
//! beside what the request line says. Pure.

use http::{HeaderMap, HeaderName, Method};

use crate::refusal::{ANYWHERE, Refusal};

const OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// Refuses a standard method in another spelling: some servers know it all the same.
///
/// # Errors
/// 400 `bad_request`.
pub fn check(method: &Method) -> Result<(), Refusal> {
    if matches!(*method, Method::GET | Method::POST) || !method.as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Ok(());
    }
    if is_standard(&method.as_str().to_ascii_uppercase()) {
        return Err(Refusal::bad_request("Methods are case-sensitive: this one is written in upper case"));
    }
    Ok(())
}

/// RFC 9110 §9.3 and RFC 5789.
fn is_standard(name: &str) -> bool {
    matches!(name, "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH")
}

/// As what a method is judged: who may `GET` a thing may ask for its head.
pub fn judged(method: &Method) -> &str {
    if *method == Method::HEAD { "GET" } else { method.as_str() }
}

/// The methods as which a call is judged, the request line's and all that its headers name, with a space between them.
///
/// # Errors
/// 400 `bad_request` where a header names no method, or several; 405 `method_not_allowed` where it names one that is never
/// let through.
pub fn with_overrides(method: &Method, headers: &HeaderMap) -> Result<Box<str>, Refusal> {
    let malformed = || Refusal::bad_request("A header that overrides the method holds one method");
    let mut all = vec![judged(method).to_owned()];
    for name in &OVERRIDES {
        for value in headers.get_all(name) {
            let named = value.to_str().map_err(|_| malformed())?.trim().to_ascii_uppercase();
            let named = Method::from_bytes(named.as_bytes()).map_err(|_| malformed())?;
            if matches!(named, Method::TRACE | Method::CONNECT) {
                return Err(Refusal::method_not_allowed(Some(ANYWHERE)));
            }
            let named = judged(&named);
            if !all.iter().any(|known| known == named) {
                all.push(named.to_owned());
            }
        }
    }
    Ok(all.join(" ").into())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn overridden(method: &Method, lines: &[(&'static str, &'static str)]) -> Result<Box<str>, u16> {
        let headers = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        with_overrides(method, &headers).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn a_standard_method_has_one_spelling() {
        for name in ["get", "Get", "delete", "DELETe", "trace", "connect", "head", "patch", "options", "put", "post"] {
            assert!(check(&Method::from_bytes(name.as_bytes()).unwrap()).is_err(), "{name}");
        }
        for name in ["GET", "DELETE", "TRACE", "PROPFIND", "propfind", "Purge", "M-SEARCH", "x"] {
            assert!(check(&Method::from_bytes(name.as_bytes()).unwrap()).is_ok(), "{name}");
        }
    }

    #[test]
    fn whatever_a_header_names_counts_beside_the_request_line() {
        let post = |lines: &[_]| overridden(&Method::POST, lines);
        for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
            assert_eq!(post(&[(name, "DELETE")]).as_deref(), Ok("POST DELETE"));
            assert_eq!(post(&[(name, " delete ")]).as_deref(), Ok("POST DELETE"));
            assert_eq!(post(&[(name, "HEAD")]).as_deref(), Ok("POST GET"));
            assert_eq!(post(&[(name, "POST")]).as_deref(), Ok("POST"));
            assert_eq!(post(&[(name, "purge"), (name, "PUT")]).as_deref(), Ok("POST PURGE PUT"));
            for (value, status) in [("", 400), ("GET, DELETE", 400), ("a b", 400), ("TRACE", 405), ("connect", 405)] {
                assert_eq!(post(&[(name, value)]), Err(status), "{name}: {value}");
            }
        }
        let each = [("x-http-method-override", "PUT"), ("x-http-method", "GET"), ("x-method-override", "DELETE")];
        assert_eq!(overridden(&Method::HEAD, &each).as_deref(), Ok("GET PUT DELETE"));
    }
}
