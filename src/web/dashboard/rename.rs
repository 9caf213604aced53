//! Another label for a connection: a page that asks, and its form.

use askama::Template;
use http::StatusCode;

use super::target::{Answered, Pressed, Target};
use crate::{
    connection::Renamed,
    consent::Reach,
    id::Account,
    web::{
        forms::TOKEN,
        page::{self, Forms, Frame},
    },
    words::Subject,
};

#[derive(Template)]
#[template(path = "rename.html")]
struct RenamePage<'a> {
    f: Frame<'a>,
    about: Subject<'a>,
    service: &'a str,
    account: &'a str,
    /// What stands in the field.
    label: &'a str,
    error: Option<String>,
    token_field: &'a str,
    token: &'a str,
}

/// `GET /dashboard/rename?service=&account=`.
pub(super) async fn ask(target: Target) -> Answered {
    target.must_exist().await?;
    page(&target, StatusCode::OK, target.id.account.as_str(), None).await
}

async fn page(target: &Target, status: StatusCode, label: &str, error: Option<String>) -> Answered {
    let proof = target.proof().await?;
    let page = RenamePage {
        f: target.frame(),
        about: target.about(),
        service: target.service.name.as_str(),
        account: target.id.account.as_str(),
        label,
        error,
        token_field: TOKEN,
        token: &proof.token,
    };
    Ok(proof.given_with(page::render(&page, status, &Forms::Own), target.state()))
}

/// `POST /dashboard/rename`.
pub(super) async fn rename(Pressed { target, form }: Pressed) -> Answered {
    let t = target.visit.t;
    let text = form.get("label").unwrap_or_default();
    let refused = |status, error| page(&target, status, text, Some(error));
    let Ok(label) = Account::parse(text) else {
        return refused(StatusCode::BAD_REQUEST, t.label_malformed().to_owned()).await;
    };
    match target.state().parts.connections.manager.rename(&target.id, &label).await {
        Ok(Renamed::Done) => {}
        Ok(Renamed::Taken) => {
            return refused(StatusCode::CONFLICT, t.label_taken(&target.service.title, label.as_str())).await;
        }
        Ok(Renamed::Absent) => return Err(target.absent()),
        Err(_) => return Err(target.unavailable()),
    }
    if let Reach::Only { made, .. } = target.visitor.reach {
        target.follow(label, made).await;
    }
    Ok(target.done("renamed"))
}
