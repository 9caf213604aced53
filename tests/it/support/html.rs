//! As much of HTML as a browser without JavaScript needs: forms, links, text.

/// A form with the fields that it would submit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Form {
    pub(crate) action: String,
    pub(crate) method: String,
    pub(crate) fields: Vec<(String, String)>,
    /// The label of its first button.
    pub(crate) button: String,
}

/// All forms of a page, in order.
pub(crate) fn forms(html: &str) -> Vec<Form> {
    let mut found = Vec::new();
    for rest in html.split("<form").skip(1) {
        let Some((open, inner)) = rest.split_once('>') else {
            continue;
        };
        let inner = inner.split("</form>").next().unwrap_or_default();
        let mut fields = Vec::new();
        for tag in tags(inner, "input").chain(tags(inner, "button")) {
            let kind = attribute(tag, "type").unwrap_or_default();
            let unchecked = matches!(kind.as_str(), "checkbox" | "radio") && !tag.contains("checked");
            if let Some(name) = attribute(tag, "name").filter(|_| !unchecked) {
                fields.push((name, attribute(tag, "value").unwrap_or_default()));
            }
        }
        found.push(Form {
            action: attribute(open, "action").unwrap_or_default(),
            method: attribute(open, "method").unwrap_or_else(|| "get".to_owned()).to_lowercase(),
            fields,
            button: inner
                .split("<button")
                .nth(1)
                .and_then(|tag| tag.split_once('>'))
                .map(|(_, label)| text(label.split("</button>").next().unwrap_or_default()))
                .unwrap_or_default(),
        });
    }
    found
}

/// The targets of all links of a page.
pub(crate) fn links(html: &str) -> Vec<String> {
    tags(html, "a").filter_map(|tag| attribute(tag, "href")).collect()
}

/// The text of a page: no tags, entities resolved, one space between words.
pub(crate) fn text(html: &str) -> String {
    let mut plain = String::new();
    let mut inside = false;
    for character in html.chars() {
        match character {
            '<' => inside = true,
            '>' => {
                inside = false;
                plain.push(' ');
            }
            _ if !inside => plain.push(character),
            _ => {}
        }
    }
    unescape(&plain).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn tags<'a>(html: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    html.split('<').filter_map(move |piece| {
        let rest = piece.strip_prefix(name)?;
        rest.starts_with(|next: char| next.is_whitespace() || next == '>' || next == '/')
            .then(|| rest.split('>').next().unwrap_or_default())
    })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut from = 0;
    while let Some(at) = tag[from..].find(name) {
        let start = from + at;
        from = start + name.len();
        let preceded = start == 0 || tag[..start].ends_with(char::is_whitespace);
        let Some(value) = tag[from..].trim_start().strip_prefix('=').map(str::trim_start).filter(|_| preceded) else {
            continue;
        };
        let value = match value.chars().next()? {
            quote @ ('"' | '\'') => value[1..].split(quote).next()?,
            _ => value.split(char::is_whitespace).next()?,
        };
        return Some(unescape(value));
    }
    None
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let Some((entity, tail)) = after.split_once(';').filter(|(entity, _)| entity.len() <= 8) else {
            plain.push('&');
            rest = after;
            continue;
        };
        let character = match entity {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            "nbsp" => Some(' '),
            _ => entity.strip_prefix('#').and_then(|number| {
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok(),
                    None => number.parse().ok(),
                };
                code.and_then(char::from_u32)
            }),
        };
        match character {
            Some(character) => plain.push(character),
            None => plain.push_str(&format!("&{entity};")),
        }
        rest = tail;
    }
    plain.push_str(rest);
    plain
}

#[test]
fn a_form_gives_what_a_browser_would_send() {
    let page = r#"<p>Hi &amp; bye</p><form class=x action="/a?b=1&amp;c=2" method="POST">
        <input type="hidden" name="one" value="1 &quot;2&quot;"/><input name=two><button name="go" value="yes">Go <b>on</b></button></form>"#;
    let [form] = forms(page).try_into().expect("one form");
    assert_eq!((form.action.as_str(), form.method.as_str(), form.button.as_str()), ("/a?b=1&c=2", "post", "Go on"));
    let fields: Vec<_> = form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(fields, [("one", "1 \"2\""), ("two", ""), ("go", "yes")]);
    assert_eq!(text("<p>Hi &amp;\n <b>bye</b></p>"), "Hi & bye");
}
