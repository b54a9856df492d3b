//! All that is known of the selected device, session or allocation, with what was seen of it since the start.

use super::columns::state as state_of;
use super::devices::who;
use super::draw::{BOLD, Rows, Theme};
use super::history::Point;
use super::lines::{Entry, Key};
use super::state::{Focus, State};
use super::text::{seconds, time};
use crate::outputs::table::{UNKNOWN, bytes, percent, shown};
use crate::view::NodeView;
use gpu_session_api::{Allocation, Device, Session};
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::bar;
use ratatui::text::Span;
use ratatui::widgets::{RenderDirection, Sparkline};

/// Rows that it takes.
pub(super) const ROWS: u16 = 10;
/// Columns of what stands before a sparkline and after it.
const BEFORE: u16 = 9;
const AFTER: u16 = 26;

/// The lowest bar stands for 0, so that it is not taken for a time that was not seen.
const BARS: bar::Set<'_> = bar::Set { empty: bar::ONE_EIGHTH, ..bar::NINE_LEVELS };

pub(super) fn draw(rows: &mut Rows<'_, '_>, state: &State, theme: Theme) {
    let view = state.view();
    let device = state.device().filter(|_| state.focus() == Focus::Devices);
    let item = state.item().filter(|_| state.focus() == Focus::Sessions);
    if let Some((key, place)) = device {
        let device = place.device(view);
        rows_of(rows, &of_device(device, &view.nodes[place.node]));
        graphs(rows, state, key, device.memory_total_bytes, theme);
    } else if let Some((key, place)) = item {
        let node = &view.nodes[place.node];
        match place.entry(view) {
            Entry::Session(session) => {
                rows_of(rows, &of_session(session, node));
                let device = node.devices.iter().find(|device| device.uuid == session.device_uuid);
                graphs(rows, state, key, device.and_then(|device| device.memory_total_bytes), theme);
            }
            Entry::Held(held) => rows_of(rows, &of_held(held, node)),
        }
    } else {
        rows.text("nothing is selected", BOLD);
    }
}

fn rows_of(rows: &mut Rows<'_, '_>, lines: &[String]) {
    for (index, line) in lines.iter().enumerate() {
        rows.text(line, if index == 0 { BOLD } else { Style::new() });
    }
}

/// Which node something is of, where that has a name.
fn of(node: &Option<String>) -> String {
    node.as_deref().map(|node| format!(" of {node}")).unwrap_or_default()
}

fn of_device(device: &Device, node: &NodeView) -> Vec<String> {
    let users =
        device.users.as_ref().map(|users| if users.is_empty() { "nobody".into() } else { who(users) });
    let unattributed = device.unattributed.as_ref().map(|reasons| {
        let reasons: Vec<_> = reasons.iter().map(|of| format!("{} ({})", of.sessions, of.reason)).collect();
        if reasons.is_empty() { "0".to_owned() } else { reasons.join(", ") }
    });
    let held: Vec<_> = node.allocations.iter().filter(|held| held.device_uuid == device.uuid).collect();
    let by: Vec<_> =
        held.iter().map(|held| format!("{}/{} {}", held.namespace, held.pod, held.container)).collect();
    let by = match device.allocations {
        _ if !by.is_empty() => by.join(", "),
        Some(0) => "no container".to_owned(),
        count => shown(count),
    };
    vec![
        format!("GPU {}{}: {}", device.gpu, of(&node.node), shown(device.model.as_deref())),
        format!(
            "uuid {}  PCI {}  MIG {}",
            device.uuid,
            shown(device.pci_bus_id.as_deref()),
            shown(device.mig_profile.as_deref())
        ),
        format!(
            "share of a GPU {}  energy since the driver was loaded {}",
            shown(device.compute_fraction.map(|share| format!("{share:.3}"))),
            shown(device.energy_joules.map(|joules| format!("{:.3} kWh", joules / 3.6e6)))
        ),
        format!("{} sessions of {}", shown(device.sessions), shown(users)),
        format!("without a user: {}", shown(unattributed)),
        format!("held by {by}"),
    ]
}

fn of_session(session: &Session, node: &NodeView) -> Vec<String> {
    let text = |text: &Option<String>| shown(text.as_deref());
    let ratio = |ratio: Option<f64>| shown(ratio.map(|ratio| format!("{}%", percent(ratio))));
    let at = |at: Option<f64>| shown(at.and_then(time));
    let place = match (&session.namespace, &session.pod) {
        (Some(namespace), Some(pod)) => {
            format!("pod {namespace}/{pod}  container {}", text(&session.container))
        }
        _ => format!("place {}", text(&session.place)),
    };
    let allocated = match session.allocated {
        None => UNKNOWN,
        Some(true) => "yes",
        Some(false) => "no",
    };
    vec![
        format!(
            "pid {} {} on GPU {}{}  (session {})",
            session.pid,
            text(&session.command),
            session.gpu,
            of(&node.node),
            session.session
        ),
        format!("state {}", state_of(Entry::Session(session), node)),
        format!("user {} by {}  uid {}", text(&session.user), text(&session.user_rule), shown(session.uid)),
        format!("{place}  placed by {}", text(&session.attributed_by)),
        format!("device {}  given to its container {allocated}", session.device_uuid),
        format!(
            "first seen {}  last used the device {}",
            at(Some(session.start_time)),
            at(session.last_active_time)
        ),
        format!(
            "memory bus {}  encoder {}  decoder {}  SM time {}  memory over time {}",
            ratio(session.memory_busy_ratio),
            ratio(session.encoder_utilization_ratio),
            ratio(session.decoder_utilization_ratio),
            shown(session.sm_seconds.map(seconds)),
            shown(session.memory_byte_seconds.map(gib_hours))
        ),
    ]
}

fn of_held(held: &Allocation, node: &NodeView) -> Vec<String> {
    vec![
        format!("GPU {}{} is held and nothing runs on it", held.gpu, of(&node.node)),
        format!("by {}/{}  container {}", held.namespace, held.pod, held.container),
        format!("user {}", shown(held.user.as_deref())),
        format!("device {}", held.device_uuid),
        format!("idle for {}", shown(held.idle_seconds.map(seconds))),
    ]
}

fn gib_hours(byte_seconds: f64) -> String {
    format!("{:.1} GiB h", byte_seconds / (1_u64 << 30) as f64 / 3600.0)
}

fn graphs(rows: &mut Rows<'_, '_>, state: &State, key: &Key, total: Option<u64>, theme: Theme) {
    let points: Vec<Point> = state.history().newest(key).copied().collect();
    let compute = points.iter().map(|point| point.compute.map(|ratio| (ratio * 1000.0).round() as u64));
    let now = points.first().and_then(|point| point.compute);
    let text = shown(now.map(|ratio| format!("{}%", percent(f64::from(ratio)))));
    graph(rows, "compute", compute.collect(), 1000, &format!("{text} of 100%"), theme.paint(Color::Green));
    let memory: Vec<_> = points.iter().map(|point| point.memory).collect();
    let most = total.or_else(|| memory.iter().copied().flatten().max()).unwrap_or(0);
    let now = shown(memory.first().copied().flatten().map(bytes));
    let text = format!("{now} of {}", shown(total.map(bytes)));
    graph(rows, "memory", memory, most, &text, theme.paint(Color::Cyan));
    if let [newest, .., oldest] = &points[..] {
        let text = format!("seen {} times in {}", points.len(), seconds(newest.at - oldest.at));
        rows.text(&text, Style::new());
    }
}

/// A sparkline: the newest at the right, `-` where nothing was known.
fn graph(rows: &mut Rows<'_, '_>, name: &str, values: Vec<Option<u64>>, most: u64, now: &str, style: Style) {
    let Some(row) = rows.next() else { return };
    let middle = Rect { x: row.x + BEFORE, width: row.width.saturating_sub(BEFORE + AFTER), ..row };
    let end = Rect { x: middle.right() + 1, width: AFTER - 1, ..row };
    let line = Sparkline::default()
        .data(values)
        .max(most)
        .bar_set(BARS)
        .direction(RenderDirection::RightToLeft)
        .absent_value_symbol(UNKNOWN)
        .style(style);
    rows.frame().render_widget(Span::raw(name), row);
    rows.frame().render_widget(line, middle);
    rows.frame().render_widget(Span::raw(now), end);
}
