//! What can be asked. A parameter that is unknown, doubled or no value of its kind is refused by name.

use super::page::Limit;
use super::problem::Refusal;
use crate::config::parse_duration;
use crate::report::period::{Period, When};
use gpu_session_core::ids::GpuLabel;
use gpu_session_core::select::Selector;
use serde::de::{Deserialize, Deserializer, Error as _};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// A device label as a filter.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(value_type = String, pattern = "^(0|[1-9][0-9]{0,8})(_(0|[1-9][0-9]{0,8})_(0|[1-9][0-9]{0,8}))?$")]
pub(in crate::outputs::http) struct Gpu(pub(in crate::outputs::http) GpuLabel);

impl<'de> Deserialize<'de> for Gpu {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let label = match text.parse() {
            Ok(Selector::Index(gpu)) => Some(GpuLabel { gpu, instance: None }),
            Ok(Selector::Instance(label)) => Some(label),
            _ => None,
        };
        let written = label.filter(|label| label.to_string() == text);
        written.map(Self).ok_or_else(|| {
            D::Error::custom(format_args!(
                "{text:?} is no label of a device: allowed are an index (0) and the label of a MIG instance (0_1_0)"
            ))
        })
    }
}

/// A length of time.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(value_type = String, pattern = "^(0|[0-9]{1,4}[smhd]( ?[0-9]{1,4}[smhd])*)$")]
pub(in crate::outputs::http) struct For(pub(in crate::outputs::http) Duration);

impl<'de> Deserialize<'de> for For {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(D::Error::custom)
    }
}

/// A point in time, as `report` takes it.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(
    value_type = String,
    pattern = "^(now|0|[0-9]{1,4}[smhd]|20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])?)?)$"
)]
pub(in crate::outputs::http) struct At(When);

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// The period that is asked for, if one is; without `since` from the begin of the ledger.
pub(in crate::outputs::http) fn period(
    since: Option<At>,
    until: Option<At>,
    now_us: i64,
) -> Result<Option<Period>, Refusal> {
    if since.is_none() && until.is_none() {
        return Ok(None);
    }
    let since = since.map_or(When::At(0), |at| at.0);
    let until = until.map_or(When::Ago(Duration::ZERO), |at| at.0);
    // There they are flags.
    let refusal = |what: String| Refusal::bad("since, until", what.replace("--", ""));
    Period::resolve(since, until, now_us).map(Some).map_err(refusal)
}

/// Refuses a parameter that asks of the present where the past is asked for.
pub(in crate::outputs::http) fn only_now<T>(name: &str, value: Option<&T>) -> Result<(), Refusal> {
    match value {
        None => Ok(()),
        Some(_) => Err(Refusal::bad(name, "it asks how things stand now: leave it out, or since and until")),
    }
}

/// Of what has no parameters.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::outputs::http) struct OfNothing {}

/// Of sessions.
#[derive(Debug, serde::Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::outputs::http) struct OfSessions {
    /// That one, by its public name: 16 hexadecimal digits.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) session: Option<String>,
    /// Those on this device; an index takes the MIG instances of the GPU too.
    #[param(inline, value_type = Gpu, required = false)]
    pub(in crate::outputs::http) gpu: Option<Gpu>,
    /// Those of this user; empty: those whose user is not known.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) user: Option<String>,
    /// Those in this namespace; empty: those of which none is known.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) namespace: Option<String>,
    /// Those in pods of this name; empty: those of which none is known.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) pod: Option<String>,
    /// Those in containers of this name; empty: those of which none is known.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) container: Option<String>,
    /// Those of this process name; empty: those of which none is known.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) command: Option<String>,
    /// Those of this host pid.
    #[param(value_type = u32, required = false, maximum = 4_294_967_295_u32)]
    pub(in crate::outputs::http) pid: Option<u32>,
    /// Whether their container holds the device; only now.
    #[param(value_type = bool, required = false)]
    pub(in crate::outputs::http) allocated: Option<bool>,
    /// Those that are known not to have been active for this long, as in `1h`; only now.
    #[param(inline, value_type = For, required = false)]
    pub(in crate::outputs::http) idle_for: Option<For>,
    /// Of the past, from then on: `now`, a time ago (`90m`, `7d`) or a time (`2026-11-01`, `2026-11-01T12:00+09:00`).
    #[param(inline, value_type = At, required = false)]
    pub(in crate::outputs::http) since: Option<At>,
    /// Of the past, before then; written as `since`, which has to be before it.
    #[param(inline, value_type = At, required = false)]
    pub(in crate::outputs::http) until: Option<At>,
    /// At most so many, 100 where it is not said.
    #[param(inline, value_type = Limit, required = false)]
    pub(in crate::outputs::http) limit: Option<Limit>,
    /// Those after the ones before: `next_cursor` of the answer that had them.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$")]
    pub(in crate::outputs::http) cursor: Option<String>,
}

/// Of devices.
#[derive(Debug, serde::Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::outputs::http) struct OfDevices {
    /// This one; an index takes the MIG instances of the GPU too.
    #[param(inline, value_type = Gpu, required = false)]
    pub(in crate::outputs::http) gpu: Option<Gpu>,
    /// The device, or the MIG instances of the GPU, of this UUID; only now.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) uuid: Option<String>,
    /// Those that this user is on; empty: those with sessions whose user is not known; only now.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) user: Option<String>,
    /// Whether no container holds it; only now.
    #[param(value_type = bool, required = false)]
    pub(in crate::outputs::http) free: Option<bool>,
    /// Of the past, from then on: `now`, a time ago (`90m`, `7d`) or a time (`2026-11-01`, `2026-11-01T12:00+09:00`).
    #[param(inline, value_type = At, required = false)]
    pub(in crate::outputs::http) since: Option<At>,
    /// Of the past, before then; written as `since`, which has to be before it.
    #[param(inline, value_type = At, required = false)]
    pub(in crate::outputs::http) until: Option<At>,
    /// At most so many; where it is not said 100, and all sums of the past.
    #[param(inline, value_type = Limit, required = false)]
    pub(in crate::outputs::http) limit: Option<Limit>,
    /// Those after the ones before: `next_cursor` of the answer that had them; only now.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$")]
    pub(in crate::outputs::http) cursor: Option<String>,
}

/// Of users.
#[derive(Debug, serde::Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::outputs::http) struct OfUsers {
    /// This one; empty, of the past: what nobody is known for.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) user: Option<String>,
    /// Those on this device; an index takes the MIG instances of the GPU too; only now.
    #[param(inline, value_type = Gpu, required = false)]
    pub(in crate::outputs::http) gpu: Option<Gpu>,
    /// Of the past, from then on: `now`, a time ago (`90m`, `7d`) or a time (`2026-11-01`, `2026-11-01T12:00+09:00`).
    #[param(inline, value_type = At, required = false)]
    pub(in crate::outputs::http) since: Option<At>,
    /// Of the past, before then; written as `since`, which has to be before it.
    #[param(inline, value_type = At, required = false)]
    pub(in crate::outputs::http) until: Option<At>,
    /// At most so many; where it is not said 100, and all sums of the past.
    #[param(inline, value_type = Limit, required = false)]
    pub(in crate::outputs::http) limit: Option<Limit>,
    /// Those after the ones before: `next_cursor` of the answer that had them; only now.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$")]
    pub(in crate::outputs::http) cursor: Option<String>,
}

/// Of allocations.
#[derive(Debug, serde::Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::outputs::http) struct OfAllocations {
    /// Those of this device; an index takes the MIG instances of the GPU too.
    #[param(inline, value_type = Gpu, required = false)]
    pub(in crate::outputs::http) gpu: Option<Gpu>,
    /// Those in this namespace.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) namespace: Option<String>,
    /// Those of pods of this name.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) pod: Option<String>,
    /// Those of containers of this name.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) container: Option<String>,
    /// Those of this user; empty: those whose user is not known.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) user: Option<String>,
    /// Those whose device is known not to have worked for them for this long, as in `1h`; only now.
    #[param(inline, value_type = For, required = false)]
    pub(in crate::outputs::http) idle_for: Option<For>,
    /// Of the past, from then on: `now`, a time ago (`90m`, `7d`) or a time (`2026-11-01`, `2026-11-01T12:00+09:00`).
    #[param(inline, value_type = At, required = false)]
    pub(in crate::outputs::http) since: Option<At>,
    /// Of the past, before then; written as `since`, which has to be before it.
    #[param(inline, value_type = At, required = false)]
    pub(in crate::outputs::http) until: Option<At>,
    /// At most so many, 100 where it is not said.
    #[param(inline, value_type = Limit, required = false)]
    pub(in crate::outputs::http) limit: Option<Limit>,
    /// Those after the ones before: `next_cursor` of the answer that had them.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$")]
    pub(in crate::outputs::http) cursor: Option<String>,
}

/// Of what changes.
#[derive(Debug, serde::Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::outputs::http) struct OfChanges {
    /// Sessions and devices there; an index takes the MIG instances of the GPU too.
    #[param(inline, value_type = Gpu, required = false)]
    pub(in crate::outputs::http) gpu: Option<Gpu>,
    /// Sessions of this user; empty: those whose user is not known. Devices come whoever is on them.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) user: Option<String>,
    /// Sessions in this namespace; empty: those of which none is known. Devices come whoever is on them.
    #[param(value_type = String, required = false)]
    pub(in crate::outputs::http) namespace: Option<String>,
}
