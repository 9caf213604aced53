use std::path::Path;

use super::*;

mod alerts;
mod brand;
mod generated;
mod meaning;
mod notifications;
mod problems;
mod telemetry;
mod text;

use super::testing::{KEY, env};

/// A configuration whose services nobody looks at.
#[derive(Debug)]
struct Understood {
    config: Config,
    warnings: Vec<Problem>,
}

/// A configuration with nothing but what every one needs, and this.
fn with(sections: &str) -> Result<Config, Problems> {
    let text = format!(
        "public_url: https://connect.example.com/\n\
         callers: [{{ issuer: i, audience: a, secret: 0123456789abcdef0123456789abcdef, algorithms: [HS256] }}]\n\
         store: {{ embedded: {{ path: v.redb }} }}\n\
         vault: {{ keys: [{{ id: a, key: {KEY} }}] }}\n\
         services: {{}}\n{sections}\n"
    );
    parsed(&text).map(|loaded| loaded.config)
}

/// What `config` makes of each of these texts is one problem, at this path; no problem repeats a secret.
fn each_is_one_problem<T: std::fmt::Debug>(config: impl Fn(&str) -> Result<T, Problems>, texts: &[(String, &str)]) {
    for (text, path) in texts {
        let problems = config(text).expect_err(text).all;
        assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), [*path], "{text}");
        assert!(!format!("{problems:?}").contains("hush-hush"), "{problems:?}");
    }
}

fn parsed(text: &str) -> Result<Understood, Problems> {
    parse(text, Path::new("config"), &env).finish().map(|(config, warnings, _)| Understood { config, warnings })
}
