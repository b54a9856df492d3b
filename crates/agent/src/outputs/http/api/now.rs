//! How things stand, from the last snapshot; with a period, how they stood.

use super::problem::{Problems, Refusal};
use super::query::{self, OfAllocations, OfDevices, OfSessions, OfUsers};
use super::{Api, filter, history, page};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use gpu_session_api::{
    AllocationHistory, Allocations, DeviceUsages, Devices, SessionHistory, Sessions, UserUsages, Users,
};
use gpu_session_core::ids::GpuLabel;
use gpu_session_core::json;
use utoipa::ToSchema;

/// What a path answers with: how things stand, or with `since` or `until` how they stood.
macro_rules! answer {
    ($name:ident, $now:ident, $then:ident) => {
        #[doc = "How things stand, or with `since` or `until` how they stood."]
        #[derive(ToSchema)]
        #[serde(untagged)]
        #[expect(dead_code, reason = "for the description")]
        pub(super) enum $name {
            #[doc = "Without a period."]
            Now($now),
            #[doc = "With a period."]
            Then($then),
        }
    };
}

answer!(SessionsAnswer, Sessions, SessionHistory);
answer!(DevicesAnswer, Devices, DeviceUsages);
answer!(UsersAnswer, Users, UserUsages);
answer!(AllocationsAnswer, Allocations, AllocationHistory);

type Asked<T> = Result<Query<T>, QueryRejection>;

/// Sessions now, by device and pid; with `since` or `until` those of the past, the last first
#[utoipa::path(get, path = "/api/v1/sessions", operation_id = "sessions", tag = "now and then",
    params(OfSessions), responses((status = 200, description = "The sessions", body = SessionsAnswer), Problems))]
pub(super) async fn sessions(State(api): State<Api>, asked: Asked<OfSessions>) -> Result<Response, Refusal> {
    let Query(asked) = asked?;
    if let Some(period) = query::period(asked.since, asked.until, api.shared.clock.now_us())? {
        return history::sessions(&api, asked, period).await;
    }
    let after = page::place(asked.cursor.as_ref())?;
    let mut answer = json::sessions(&*api.snapshot()?);
    answer.sessions.retain(|session| asked.takes(session, answer.timestamp));
    let key = |s: &gpu_session_api::Session| (filter::label(&s.gpu), s.pid, s.session.clone());
    let (sessions, last) = page::page(answer.sessions, page::limit(asked.limit), after.as_ref(), key);
    let next_cursor = last.and_then(|last| page::cursor(&last));
    Ok(Json(Sessions { sessions, next_cursor, ..answer }).into_response())
}

/// Devices now, by label; with `since` or `until` what was used of each, the most used first
#[utoipa::path(get, path = "/api/v1/devices", operation_id = "devices", tag = "now and then",
    params(OfDevices), responses((status = 200, description = "The devices", body = DevicesAnswer), Problems))]
pub(super) async fn devices(State(api): State<Api>, asked: Asked<OfDevices>) -> Result<Response, Refusal> {
    let Query(asked) = asked?;
    if let Some(period) = query::period(asked.since, asked.until, api.shared.clock.now_us())? {
        return history::devices(&api, asked, period).await;
    }
    let after: Option<(GpuLabel, String)> = page::place(asked.cursor.as_ref())?;
    let mut answer = json::devices(&*api.snapshot()?);
    answer.devices.retain(|device| asked.takes(device));
    let key = |d: &gpu_session_api::Device| (filter::label(&d.gpu), d.uuid.clone());
    let (devices, last) = page::page(answer.devices, page::limit(asked.limit), after.as_ref(), key);
    let next_cursor = last.and_then(|last| page::cursor(&last));
    Ok(Json(Devices { devices, next_cursor, ..answer }).into_response())
}

/// Users with a session now, by name; with `since` or `until` what each used, who used most first
#[utoipa::path(get, path = "/api/v1/users", operation_id = "users", tag = "now and then",
    params(OfUsers), responses((status = 200, description = "The users", body = UsersAnswer), Problems))]
pub(super) async fn users(State(api): State<Api>, asked: Asked<OfUsers>) -> Result<Response, Refusal> {
    let Query(asked) = asked?;
    if let Some(period) = query::period(asked.since, asked.until, api.shared.clock.now_us())? {
        return history::users(&api, asked, period).await;
    }
    let after: Option<String> = page::place(asked.cursor.as_ref())?;
    let mut answer = json::users(&*api.snapshot()?);
    answer.users.retain(|user| asked.takes(user));
    let key = |user: &gpu_session_api::User| user.user.clone();
    let (users, last) = page::page(answer.users, page::limit(asked.limit), after.as_ref(), key);
    let next_cursor = last.and_then(|last| page::cursor(&last));
    Ok(Json(Users { users, next_cursor, ..answer }).into_response())
}

/// Devices that containers hold now, by device and container; with `since` or `until` those that they held, the last first
#[utoipa::path(get, path = "/api/v1/allocations", operation_id = "allocations", tag = "now and then",
    params(OfAllocations),
    responses((status = 200, description = "The allocations", body = AllocationsAnswer), Problems))]
pub(super) async fn allocations(
    State(api): State<Api>,
    asked: Asked<OfAllocations>,
) -> Result<Response, Refusal> {
    let Query(asked) = asked?;
    if let Some(period) = query::period(asked.since, asked.until, api.shared.clock.now_us())? {
        return history::allocations(&api, asked, period).await;
    }
    let after = page::place(asked.cursor.as_ref())?;
    let mut answer = json::allocations(&*api.snapshot()?);
    answer.allocations.retain(|allocation| asked.takes(allocation));
    let key = |a: &gpu_session_api::Allocation| {
        let names = [&a.namespace, &a.pod, &a.container, &a.device_uuid].map(Clone::clone);
        (filter::label(&a.gpu), names)
    };
    let (allocations, last) = page::page(answer.allocations, page::limit(asked.limit), after.as_ref(), key);
    let next_cursor = last.and_then(|last| page::cursor(&last));
    Ok(Json(Allocations { allocations, next_cursor, ..answer }).into_response())
}
