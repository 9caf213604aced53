//! Giving a connection up: a page that asks first, and its form.

use axum::response::Response;

use super::target::{Answered, Pressed, Question, Target};

/// `GET /dashboard/disconnect?service=&account=`: asks first.
pub(super) async fn ask(target: Target) -> Answered {
    target.must_exist().await?;
    let (t, about) = (target.visit.t, target.about());
    let question = Question {
        action: "/dashboard/disconnect",
        heading: t.disconnect_heading(about.service),
        body: t.disconnect_body(about, target.id.account.as_str()),
        button: t.disconnect_button(about.service),
    };
    target.confirm(question).await
}

/// `POST /dashboard/disconnect`.
pub(super) async fn disconnect(Pressed { target, .. }: Pressed) -> Response {
    match target.state().parts.connections.manager.disconnect(&target.id, &target.visit.cause).await {
        Ok(true) => {
            target.follow(target.id.account.clone(), None).await;
            target.done("disconnected")
        }
        Ok(false) => target.absent(),
        Err(_) => target.unavailable(),
    }
}
