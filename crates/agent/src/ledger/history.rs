//! Who was where: rows of a period, page by page, those that began last first.

use super::WRITE_RUNNING_EVERY_US;
use gpu_session_api::{AllocationRecord, SessionRecord};
use gpu_session_core::ids::GpuLabel;
use gpu_session_core::json::seconds;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

/// The row of what goes on may end so long before it does: samples are as far apart as writings at most.
const BEHIND_US: i64 = 2 * WRITE_RUNNING_EVERY_US;

/// Place of a row in the order: when it began, and its number.
pub type Place = (i64, i64);

/// Which rows.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// There at this moment or later, Unix microseconds.
    pub since_us: i64,
    /// There before this.
    pub until_us: i64,
    /// On this device; a GPU takes its instances too.
    pub gpu: Option<GpuLabel>,
    /// Columns and the text in them; the empty one takes what is not known.
    pub texts: Vec<(&'static str, String)>,
    /// Of this host pid.
    pub pid: Option<u32>,
    /// After this place.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: usize,
}

const SESSION: &str = "session, gpu, device_uuid, mig_profile, pid, command, start_us, end_us, ended, ended_how, seen, uid, \
     user, user_rule, namespace, pod, container, pod_uid, container_id, place, attributed_by, session_seconds, sm_seconds, \
     memory_byte_seconds, memory_peak_bytes, memory_mean_bytes, energy_sole_joules, energy_sm_share_joules";

const ALLOCATION: &str = "gpu, device_uuid, namespace, pod, container, pod_uid, user, start_us, end_us, ended, \
     allocated_seconds, idle_seconds";

/// Sessions.
pub(super) fn sessions(db: &Connection, asked: &Asked) -> rusqlite::Result<Vec<(Place, SessionRecord)>> {
    rows(db, "session", SESSION, asked, session)
}

/// Allocations.
pub(super) fn allocations(
    db: &Connection,
    asked: &Asked,
) -> rusqlite::Result<Vec<(Place, AllocationRecord)>> {
    rows(db, "allocation", ALLOCATION, asked, allocation)
}

fn rows<T>(
    db: &Connection,
    table: &str,
    columns: &str,
    asked: &Asked,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<(Place, T)>> {
    let (conditions, values) = conditions(asked);
    let mut statement = db.prepare(&format!(
        "SELECT start_us, id, {columns} FROM {table} WHERE {} ORDER BY start_us DESC, id DESC LIMIT {}",
        conditions.join(" AND "),
        asked.limit
    ))?;
    let place = |row: &Row<'_>| -> rusqlite::Result<Place> { Ok((row.get("start_us")?, row.get("id")?)) };
    let found = statement.query_map(params_from_iter(values), |row| Ok((place(row)?, read(row)?)))?;
    found.collect()
}

/// Conditions with their values, in order. Names of columns are ours; what was asked is bound.
fn conditions(asked: &Asked) -> (Vec<String>, Vec<Value>) {
    let mut conditions = vec!["start_us < ?".to_owned(), "end_us >= ?".to_owned()];
    let mut values: Vec<Value> = vec![asked.until_us.into(), asked.since_us.saturating_sub(BEHIND_US).into()];
    let mut add = |condition: &str, bound: &[Value]| {
        conditions.push(condition.to_owned());
        values.extend_from_slice(bound);
    };
    add("(end_us >= ? OR NOT ended)", &[asked.since_us.into()]);
    match asked.gpu {
        Some(gpu) if gpu.instance.is_none() => {
            add("(gpu = ? OR substr(gpu, 1, ?) = ?)", &instances(gpu));
        }
        Some(instance) => add("gpu = ?", &[instance.to_string().into()]),
        None => {}
    }
    for (column, text) in &asked.texts {
        add(&format!("ifnull({column}, '') = ?"), &[text.clone().into()]);
    }
    if let Some(pid) = asked.pid {
        add("pid = ?", &[pid.into()]);
    }
    if let Some((start_us, id)) = asked.after {
        add("(start_us, id) < (?, ?)", &[start_us.into(), id.into()]);
    }
    (conditions, values)
}

/// The label of a GPU, and what those of its instances begin with.
fn instances(gpu: GpuLabel) -> [Value; 3] {
    let begin = format!("{gpu}_");
    [gpu.to_string().into(), Value::from(begin.len() as i64), begin.into()]
}

fn session(row: &Row<'_>) -> rusqlite::Result<SessionRecord> {
    Ok(SessionRecord {
        session: row.get("session")?,
        gpu: row.get("gpu")?,
        device_uuid: row.get("device_uuid")?,
        mig_profile: row.get("mig_profile")?,
        pid: row.get("pid")?,
        command: row.get("command")?,
        start_time: seconds(row.get("start_us")?),
        end_time: seconds(row.get("end_us")?),
        ended: row.get("ended")?,
        ended_how: row.get("ended_how")?,
        seen: row.get("seen")?,
        uid: row.get("uid")?,
        user: row.get("user")?,
        user_rule: row.get("user_rule")?,
        namespace: row.get("namespace")?,
        pod: row.get("pod")?,
        container: row.get("container")?,
        pod_uid: row.get("pod_uid")?,
        container_id: row.get("container_id")?,
        place: row.get("place")?,
        attributed_by: row.get("attributed_by")?,
        session_seconds: row.get("session_seconds")?,
        sm_seconds: row.get("sm_seconds")?,
        memory_byte_seconds: row.get("memory_byte_seconds")?,
        memory_peak_bytes: row.get::<_, Option<i64>>("memory_peak_bytes")?.and_then(|n| n.try_into().ok()),
        memory_mean_bytes: row.get("memory_mean_bytes")?,
        energy_sole_joules: row.get("energy_sole_joules")?,
        energy_sm_share_joules: row.get("energy_sm_share_joules")?,
    })
}

fn allocation(row: &Row<'_>) -> rusqlite::Result<AllocationRecord> {
    Ok(AllocationRecord {
        gpu: row.get("gpu")?,
        device_uuid: row.get("device_uuid")?,
        namespace: row.get("namespace")?,
        pod: row.get("pod")?,
        container: row.get("container")?,
        pod_uid: row.get("pod_uid")?,
        user: row.get("user")?,
        start_time: seconds(row.get("start_us")?),
        end_time: seconds(row.get("end_us")?),
        ended: row.get("ended")?,
        allocated_seconds: row.get("allocated_seconds")?,
        idle_seconds: row.get("idle_seconds")?,
    })
}
