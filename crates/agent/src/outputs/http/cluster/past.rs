//! Periods, for which Prometheus is asked.

use super::answer::{Gzip, Ready, made};
use super::now::{BUSY as ANSWERS_BUSY, bad_sort, part, seen};
use super::query::{OfDevice, OfUser, OfUsers, of_period, required};
use super::{Asked, Shared};
use crate::cluster::past::{About, rounded};
use crate::cluster::{AskedUsers, Unanswered, check_order};
use crate::outputs::http::api::problem::Refusal;
use crate::report::period::Period;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use gpu_session_api::ClusterUsers;

const BUSY: &str = "other questions of the past take long; ask again in a few seconds";
const A_NODE: &str = "the name of a node";
const A_DEVICE: &str = "the index of a GPU (0) or the label of a MIG instance (0_1_0)";
const A_USER: &str = "the name of a user; empty for what nobody is known for";

pub(super) async fn users(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Asked<OfUsers>,
) -> Result<Response, Refusal> {
    let Query(asked) = asked?;
    let period = rounded(of_period(asked.since, asked.until, shared.clock.now_us())?);
    let wanted = AskedUsers {
        words: asked.words()?,
        user: asked.user.clone(),
        sort: asked.sort.clone(),
        page: asked.page(),
    };
    // Before Prometheus is asked.
    check_order(wanted.sort.as_deref()).map_err(bad_sort)?;
    let (seen, gzip, now) = (seen(&shared).await?, Gzip::of(&headers), shared.now());
    let used = shared.past.used(period).await.map_err(unanswered)?;
    made(&shared.answers, ANSWERS_BUSY, move || {
        let (users, total) = seen.index.users(&used.lines, &wanted).map_err(bad_sort)?;
        let (since, until) = (period.since_us as f64 / 1e6, period.until_us as f64 / 1e6);
        let (part, warnings) = (part(now, &seen, wanted.page, total), used.warnings.clone());
        Ready::of(&ClusterUsers { part, since, until, warnings, users }, gzip)
    })
    .await
}

pub(super) async fn timeline(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Asked<OfDevice>,
) -> Result<Response, Refusal> {
    let Query(asked) = asked?;
    let node = required("node", asked.node, A_NODE)?;
    let gpu = required("gpu", asked.gpu, A_DEVICE)?.0;
    let period = rounded(of_period(asked.since, asked.until, shared.clock.now_us())?);
    let gzip = Gzip::of(&headers);
    let timeline = shared.past.timeline(node, gpu, period).await.map_err(unanswered)?;
    made(&shared.answers, ANSWERS_BUSY, move || Ready::of(&*timeline, gzip)).await
}

pub(super) async fn device(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Asked<OfDevice>,
) -> Result<Response, Refusal> {
    let Query(asked) = asked?;
    let node = required("node", asked.node, A_NODE)?;
    let gpu = required("gpu", asked.gpu, A_DEVICE)?.0;
    let period = of_period(asked.since, asked.until, shared.clock.now_us())?;
    figures(&shared, &headers, About::Device(node, gpu), rounded(period)).await
}

pub(super) async fn user(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Asked<OfUser>,
) -> Result<Response, Refusal> {
    let Query(asked) = asked?;
    let user = required("user", asked.user, A_USER)?;
    let period = of_period(asked.since, asked.until, shared.clock.now_us())?;
    figures(&shared, &headers, About::User(user), rounded(period)).await
}

async fn figures(
    shared: &Shared,
    headers: &HeaderMap,
    about: About,
    period: Period,
) -> Result<Response, Refusal> {
    let gzip = Gzip::of(headers);
    let figures = shared.past.figures(about, period).await.map_err(unanswered)?;
    made(&shared.answers, ANSWERS_BUSY, move || Ready::of(&*figures, gzip)).await
}

fn unanswered(why: Unanswered) -> Refusal {
    match why {
        Unanswered::Busy => Refusal::unavailable(BUSY),
        Unanswered::Failed(why) => Refusal::unavailable(why),
    }
}
