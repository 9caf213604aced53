//! STAND-IN. The few pages that a person sees: consent, settings, problems. Says on each that this is a stand-in. Without
//! scripts, so that it works wherever Valetkey's own pages do.

use askama::Template;

/// Any of the stand-in's pages.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }} · Demo Hub (stand-in)</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<p class="label" role="note">{{ label }}</p>
<main>
<p class="who">Demo Hub · signed in as <strong>{{ person }}</strong> (@{{ login }})</p>
<h1>{{ title }}</h1>
{% match body %}
{% when Body::Consent with { client, scopes, handle } %}
<p>The application <strong>{{ client }}</strong> would like to use your Demo Hub account. It will be able to:</p>
<ul>
{% for scope in scopes.iter() %}<li>{{ scope.1 }} <code>{{ scope.0 }}</code></li>
{% endfor %}</ul>
<form method="post" action="/authorize">
<input type="hidden" name="request" value="{{ handle }}">
<button class="yes" name="decision" value="allow">Allow</button>
<button name="decision" value="deny">Deny</button>
</form>
{% when Body::Settings %}
<p>Take back what you allowed, as you would in a real provider's settings. Valetkey isn't told; it finds out at the next call.</p>
<form method="post" action="/settings/revoke"><button>Remove access of all applications</button></form>
{% when Body::Removed with { count } %}
<p>{{ count }} grant(s) removed. Their tokens are dead from now on. Run your curl line again: Valetkey answers
<code>auth_required</code> with a fresh link.</p>
<p><a href="/settings">Back to settings</a></p>
{% when Body::Problem with { why } %}
<p>{{ why }}</p>
{% endmatch %}
</main>
<footer>{{ origin }} · in memory, gone when the demo ends</footer>
</body>
</html>
"#
)]
pub struct Page<'a> {
    /// What this is.
    pub label: &'a str,
    /// Who is signed in.
    pub person: &'a str,
    /// Under which login.
    pub login: &'a str,
    /// Where this is served.
    pub origin: &'a str,
    /// The heading.
    pub title: &'a str,
    /// The rest.
    pub body: Body<'a>,
}

/// What a page is about.
pub enum Body<'a> {
    /// Asks for consent.
    Consent {
        /// The client's id.
        client: &'a str,
        /// Scopes with what each allows.
        scopes: &'a [(&'static str, &'static str)],
        /// Names this request when the form comes back.
        handle: &'a str,
    },
    /// Lets a person take access back.
    Settings,
    /// Says that it was taken back.
    Removed {
        /// How many grants.
        count: usize,
    },
    /// Says why nothing was done.
    Problem {
        /// The reason.
        why: &'a str,
    },
}

/// The pages' style sheet: striped, so that nobody takes it for a real provider.
pub const STYLE: &str = "\
:root{color-scheme:light dark;font:17px/1.5 system-ui,sans-serif}
body{margin:0;min-height:100vh;display:flex;flex-direction:column}
.label{margin:0;padding:.6rem 1rem;text-align:center;font-weight:700;color:#1b1500;
background:repeating-linear-gradient(45deg,#ffd84d 0 16px,#ffcb1f 16px 32px)}
main{flex:1;width:min(32rem,100% - 2rem);margin:2.5rem auto}
.who{opacity:.75}
h1{font-size:1.6rem;line-height:1.2}
code{font-size:.85em;opacity:.75}
form{display:flex;gap:.75rem;flex-wrap:wrap;margin-top:1.5rem}
button{font:inherit;padding:.6rem 1.4rem;border-radius:.5rem;border:1px solid;background:transparent;color:inherit;cursor:pointer}
button.yes{background:#1f7a3d;border-color:#1f7a3d;color:#fff}
button:focus-visible,a:focus-visible{outline:3px solid #ffb000;outline-offset:2px}
footer{padding:1rem;text-align:center;opacity:.6;font-size:.85rem}
";
