//! Our two cookies: which browser this is (for the connect flow and its forms), and its session on the dashboard. Host-only,
//! out of reach of scripts, sent along by links but not by other sites' forms.

use http::{HeaderMap, HeaderValue, header};
use url::Url;

use crate::config::loopback::is_loopback;

/// Which cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cookie {
    /// The browser itself; it lives as long as a link that it went on with may.
    Browser,
    /// Its session on the dashboard.
    Session,
}

/// How cookies are made under this `public_url`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cookies {
    /// `Secure` and `__Host-` (RFC 6265bis §4.1.3.2); browsers take them on plain HTTP nowhere, so on loopback without.
    secure: bool,
}

impl Cookies {
    pub fn new(public_url: &Url) -> Self {
        Self { secure: !(public_url.scheme() == "http" && is_loopback(public_url)) }
    }

    fn name(self, cookie: Cookie) -> &'static str {
        match (cookie, self.secure) {
            (Cookie::Browser, true) => "__Host-valetkey-browser",
            (Cookie::Browser, false) => "valetkey-browser",
            (Cookie::Session, true) => "__Host-valetkey-session",
            (Cookie::Session, false) => "valetkey-session",
        }
    }

    /// The cookie's value in a request.
    pub fn read(self, headers: &HeaderMap, cookie: Cookie) -> Option<&str> {
        read(headers, self.name(cookie))
    }

    /// Sets the cookie for this many seconds; `None`: until the browser is closed.
    pub fn set(self, headers: &mut HeaderMap, cookie: Cookie, value: &str, max_age_s: Option<u64>) {
        let mut text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax", self.name(cookie));
        if self.secure {
            text.push_str("; Secure");
        }
        if let Some(seconds) = max_age_s {
            text.push_str(&format!("; Max-Age={seconds}"));
        }
        if let Ok(mut value) = HeaderValue::try_from(text) {
            value.set_sensitive(true);
            headers.append(header::SET_COOKIE, value);
        }
    }

    /// All cookies of a request that are not ours, as one header value.
    pub fn of_others(self, headers: &HeaderMap) -> String {
        let own = [self.name(Cookie::Browser), self.name(Cookie::Session)];
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).map(str::trim);
        let others = pairs.filter(|pair| {
            let name = pair.split('=').next().unwrap_or(pair);
            !name.is_empty() && !own.contains(&name)
        });
        others.collect::<Vec<_>>().join("; ")
    }

    /// Takes the cookie back.
    pub fn clear(self, headers: &mut HeaderMap, cookie: Cookie) {
        self.set(headers, cookie, "", Some(0));
    }
}

/// The value of the first cookie of this name.
pub(super) fn read<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_cookie(public_url: &str) -> String {
        let mut headers = HeaderMap::new();
        Cookies::new(&Url::parse(public_url).unwrap()).set(&mut headers, Cookie::Browser, "v", Some(60));
        headers[header::SET_COOKIE].to_str().unwrap().to_owned()
    }

    #[test]
    fn cookies_are_bound_to_host_and_tls_but_on_loopback() {
        let whole = "__Host-valetkey-browser=v; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60";
        for url in ["https://connect.example.com/", "https://localhost/", "http://connect.example.com/"] {
            assert_eq!(set_cookie(url), whole, "{url}");
        }
        let plain = "valetkey-browser=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60";
        for url in ["http://127.0.0.1:8080/", "http://[::1]:8080/", "http://localhost:8080/", "http://localhost.:8080/"]
        {
            assert_eq!(set_cookie(url), plain, "{url}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; b=2"));
        headers.append(header::COOKIE, HeaderValue::from_static("xb=3; c=\"4\"; b=5; broken"));
        assert_eq!(read(&headers, "b"), Some("2"));
        assert_eq!(read(&headers, "c"), Some("4"));
        assert_eq!(read(&headers, "d"), None);
        headers.append(header::COOKIE, HeaderValue::from_static("__Host-valetkey-session=s; e=6"));
        let cookies = Cookies::new(&Url::parse("https://connect.example.com/").unwrap());
        assert_eq!(cookies.of_others(&headers), "a=1; b=2; xb=3; c=\"4\"; b=5; broken; e=6");
    }
}
