//! What a client would rather read: `Accept` (RFC 9110 §12.5.1), as far as choosing between HTML and JSON needs it.

/// How well a media range of `Accept` fits a type; the most specific range decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Anything,
    Type,
    Exact,
}

/// Whether `text/html` is preferred to `application/json`. Equal weights, as in `*/*`, mean JSON: whoever wants a page
/// says so. Ranges that aren't well formed are passed over.
pub fn prefers_html(accept: Option<&str>) -> bool {
    let Some(accept) = accept else { return false };
    weight(accept, "text", "html") > weight(accept, "application", "json")
}

/// Thousandths, as the most specific matching range says; 0 where none matches.
fn weight(accept: &str, main: &str, sub: &str) -> u16 {
    let mut best: Option<(Fit, u16)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let Some((range_main, range_sub)) = parts.next().and_then(|media| media.split_once('/')) else { continue };
        let fit = match (range_main, range_sub) {
            ("*", "*") => Fit::Anything,
            (range_main, "*") if range_main.eq_ignore_ascii_case(main) => Fit::Type,
            (range_main, range_sub) if range_main.eq_ignore_ascii_case(main) && range_sub.eq_ignore_ascii_case(sub) => {
                Fit::Exact
            }
            _ => continue,
        };
        let mut quality = Some(1000);
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                quality = thousandths(value.trim());
            }
        }
        let Some(quality) = quality else { continue };
        if best.is_none_or(|(best_fit, best_quality)| (fit, quality) > (best_fit, best_quality)) {
            best = Some((fit, quality));
        }
    }
    best.map_or(0, |(_, quality)| quality)
}

/// A qvalue (RFC 9110 §12.4.2): `0` or `1`, and up to three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(decimals),
        "1" if decimals == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_chosen_only_where_it_is_preferred() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for html in [
            browser,
            "text/html",
            "TEXT/HTML",
            "text/*",
            "text/html;q=0.5, application/json;q=0.4",
            "application/json;q=0, */*;q=0.1",
            "text/html;level=1;q=0.3, */*;q=0.2",
            "application/*;q=0.2 , text/*;q=0.3",
            "text/html, application/json;q=0.999",
        ] {
            assert!(prefers_html(Some(html)), "{html}");
        }
        for json in [
            "*/*",
            "application/json",
            "text/html;q=0.4, application/json;q=0.5",
            "text/html, application/json",
            "text/html;q=0",
            "text/html;q=0, */*",
            "image/png",
            "",
            "text/html;q=2",
            "text/html;q=0.1234",
            "text/html;q=1.5",
            "html",
            ";;;,,/,",
        ] {
            assert!(!prefers_html(Some(json)), "{json}");
        }
        assert!(!prefers_html(None));
    }
}
