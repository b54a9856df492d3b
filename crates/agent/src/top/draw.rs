//! The screen, from the state and the time.

use super::devices::{self, Bar};
use super::lines::{Line as Entry, Place};
use super::state::{Focus, Group, State};
use super::text::{Align, cut, pad};
use super::{detail, help, sessions, totals};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

/// Columns and rows below which there is no room for it.
pub const SMALLEST: (u16, u16) = (60, 14);
/// Rows from which on the detail stands beside both panes.
const TALL: u16 = 40;
/// The most lines of what is wrong.
const MOST_PROBLEMS: usize = 3;
/// The least rows of the sessions: what they are, titles, and three of them.
const LEAST_SESSIONS: u16 = 5;

/// How the screen is painted. Nothing is told by colour alone.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// Whether there are colours: of the sixteen that every terminal has, in the shades that its owner chose.
    pub color: bool,
}

impl Theme {
    pub(super) fn paint(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    fn alarm(self) -> Style {
        self.paint(Color::Red).add_modifier(Modifier::BOLD)
    }
}

pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Rows of the screen, written from the top.
pub(super) struct Rows<'a, 'b> {
    frame: &'a mut Frame<'b>,
    area: Rect,
}

impl<'a, 'b> Rows<'a, 'b> {
    /// The rows of an area.
    pub(super) fn new(frame: &'a mut Frame<'b>, area: Rect) -> Self {
        Self { frame, area }
    }

    /// How many are left.
    pub(super) fn left(&self) -> u16 {
        self.area.height
    }

    pub(super) fn width(&self) -> usize {
        usize::from(self.area.width)
    }

    /// The next row's area; `None` where there is none left.
    pub(super) fn next(&mut self) -> Option<Rect> {
        let row = Rect { height: 1, ..self.area };
        self.area.height = self.area.height.checked_sub(1)?;
        self.area.y += 1;
        Some(row)
    }

    pub(super) fn put<'c>(&mut self, line: impl Into<Line<'c>>) {
        if let Some(row) = self.next() {
            self.frame.render_widget(line.into(), row);
        }
    }

    /// Text that is cleaned and cut to the row.
    pub(super) fn text(&mut self, text: &str, style: Style) {
        let text = cut(text, self.width());
        self.put(Span::styled(text, style));
    }

    pub(super) fn frame(&mut self) -> &mut Frame<'b> {
        self.frame
    }
}

/// Draws all of it; `now` is in Unix seconds.
pub fn draw(frame: &mut Frame<'_>, state: &State, now: f64, theme: Theme) {
    let area = frame.area();
    let (columns, lines) = SMALLEST;
    if area.width < columns || area.height < lines {
        let text = format!(
            "The terminal is {}x{}; top needs {columns}x{lines}. Make it larger, or press q and use `gpu-session-monitor ps`.",
            area.width, area.height
        );
        return frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
    }
    if state.is_helping() {
        return help::draw(&mut Rows::new(frame, area), state.help_page());
    }
    let mut rows = Rows::new(frame, area);
    head(&mut rows, state, now, theme);
    let mut rest = rows.area;
    rest.height = rest.height.saturating_sub(1);
    let [upper, lower, beside] = split(rest, state);
    device_pane(&mut Rows::new(frame, upper), state, now, theme);
    session_pane(&mut Rows::new(frame, lower), state, theme);
    detail::draw(&mut Rows::new(frame, beside), state, theme);
    let foot = Rect { y: area.bottom() - 1, height: 1, ..area };
    Rows::new(frame, foot).text(&keys(state, area.width), Style::new());
}

/// Areas of the devices, the sessions and the detail. Where the terminal is low, the detail takes the place of the
/// pane that keys are not for.
fn split(area: Rect, state: &State) -> [Rect; 3] {
    let room = area.height;
    let wanted = u16::try_from(state.devices().0.len() + 1).unwrap_or(u16::MAX);
    let detail = if state.has_detail() { detail::ROWS.min(room.saturating_sub(LEAST_SESSIONS)) } else { 0 };
    let rest = room - detail;
    let heights = if state.has_detail() && room < TALL {
        match state.focus() {
            Focus::Sessions => [0, rest, detail],
            Focus::Devices => [wanted.min(rest), 0, room - wanted.min(rest)],
        }
    } else {
        let devices = wanted.min((rest / 2).max(4)).min(rest.saturating_sub(LEAST_SESSIONS));
        [devices, rest - devices, detail]
    };
    let mut y = area.y;
    heights.map(|height| {
        let part = Rect { y, height, ..area };
        y += height;
        part
    })
}

fn head(rows: &mut Rows<'_, '_>, state: &State, now: f64, theme: Theme) {
    rows.text(&totals::title(state, now), BOLD);
    if state.has_looked() {
        rows.text(&totals::totals(state), Style::new());
    }
    let mut problems = totals::problems(state, now);
    let more = problems.len().saturating_sub(MOST_PROBLEMS);
    if more > 0 {
        problems.truncate(MOST_PROBLEMS - 1);
        problems
            .push(format!("and {} problems more; `gpu-session-monitor doctor` says what to do", more + 1));
    }
    for problem in problems {
        rows.text(&problem, theme.alarm());
    }
}

/// The first of the lines that are shown, so that the selected one is among them.
fn first(lines: usize, selected: Option<usize>, shown: usize) -> usize {
    let around = selected.unwrap_or(0).saturating_sub(shown / 2);
    around.min(lines.saturating_sub(shown))
}

/// The mark of the selected line, and how it is painted.
fn mark(selected: bool, focused: bool) -> (&'static str, Style) {
    match (selected, focused) {
        (true, true) => (">", Style::new().add_modifier(Modifier::REVERSED)),
        _ => (" ", Style::new()),
    }
}

fn title(text: &str, width: usize) -> Span<'static> {
    let style = BOLD.add_modifier(Modifier::UNDERLINED);
    Span::styled(pad(&format!(" {text}"), width, Align::Left), style)
}

fn device_pane(rows: &mut Rows<'_, '_>, state: &State, now: f64, theme: Theme) {
    let width = rows.width();
    let plan = devices::plan(width - 1);
    rows.put(title(&devices::titles(&plan), width));
    let (lines, selected) = state.devices();
    let shown = usize::from(rows.left());
    let first = first(lines.len(), selected, shown);
    for (index, line) in lines.iter().enumerate().skip(first).take(shown) {
        match line {
            Entry::Node(index) => rows.text(&format!(" {}", totals::node(state, *index, now)), BOLD),
            Entry::Heading(text) => rows.text(&format!(" {text}"), BOLD),
            Entry::Item(_, place) => {
                rows.put(device_line(*place, state, &plan, selected == Some(index), theme));
            }
        }
    }
}

fn device_line(
    place: Place<usize>,
    state: &State,
    plan: &devices::Plan,
    selected: bool,
    theme: Theme,
) -> Line<'static> {
    let (mark, style) = mark(selected, state.focus() == Focus::Devices);
    let view = state.view();
    let pieces = devices::row(place.device(view), &view.nodes[place.node], plan);
    let painted = pieces.into_iter().map(|(text, bar)| {
        let style = match bar {
            Some(Bar::Compute) => theme.paint(Color::Green),
            Some(Bar::Memory) => theme.paint(Color::Cyan),
            None => Style::new(),
        };
        Span::styled(text, style)
    });
    Line::from(std::iter::once(Span::raw(mark)).chain(painted).collect::<Vec<_>>()).style(style)
}

fn session_pane(rows: &mut Rows<'_, '_>, state: &State, theme: Theme) {
    if rows.left() == 0 {
        return;
    }
    let width = rows.width();
    let (lines, selected) = state.sessions();
    rows.text(&arrangement(state), BOLD);
    let columns = sessions::columns(state.view(), state.arranged().group, width - 1);
    rows.put(title(&sessions::titles(&columns), width));
    if lines.is_empty() {
        return rows.text(&format!(" {}", nothing(state)), Style::new());
    }
    let shown = usize::from(rows.left());
    let first = first(lines.len(), selected, shown);
    for (index, line) in lines.iter().enumerate().skip(first).take(shown) {
        match line {
            Entry::Node(_) => {}
            Entry::Heading(text) => rows.text(&format!(" {text}"), BOLD),
            Entry::Item(_, place) => {
                let (mark, style) = mark(selected == Some(index), state.focus() == Focus::Sessions);
                let (text, last) = sessions::row(*place, state.view(), &columns);
                let idle = last.contains("IDLE");
                let painted = if idle { theme.paint(Color::Magenta).patch(BOLD) } else { Style::new() };
                let spans = [Span::raw(mark), Span::raw(text), Span::styled(last, painted)];
                rows.put(Line::from(spans.to_vec()).style(style));
            }
        }
    }
}

/// How the sessions are arranged.
fn arrangement(state: &State) -> String {
    let arranged = state.arranged();
    let (lines, _) = state.sessions();
    let listed = lines.iter().filter(|line| line.key().is_some()).count();
    let order = if arranged.descending { "downwards" } else { "upwards" };
    let mut text = format!("{listed} listed, by {} {order}", arranged.sort.title());
    if arranged.group != Group::None {
        text = format!("{text}, grouped by {}", arranged.group.name());
    }
    if !arranged.filter.is_empty() {
        let all = sessions::count(state.view());
        text = format!("{text}, filter \"{}\" ({all} in all)", arranged.filter);
    }
    text
}

/// Why nothing is listed.
fn nothing(state: &State) -> &'static str {
    if !state.has_looked() {
        "nothing has been seen yet"
    } else if !state.arranged().filter.is_empty() {
        // The devices above may be what was found.
        if state.devices().0.is_empty() {
            "nothing is found; Esc ends the filter"
        } else {
            "no session is found; Esc ends the filter"
        }
    } else if totals::is_complete(state) {
        "no session"
    } else {
        "no session is known"
    }
}

/// The keys that there is room for; `?` shows the others.
fn keys(state: &State, width: u16) -> String {
    if state.is_filtering() {
        return format!("filter: {}_   (Enter keeps it, Esc ends it)", state.arranged().filter);
    }
    let step: &[&str] = if state.position().is_some() { &[", . step"] } else { &[] };
    let keys =
        ["q quit", "? help", "/ filter", "<> sort", "g group", "Tab pane", "Enter detail", "Space pause"];
    let mut text = String::new();
    for key in keys[..2].iter().chain(step).chain(&keys[2..]).chain(&["r reverse"]) {
        if text.len() + 2 + key.len() <= usize::from(width) {
            let gap = if text.is_empty() { "" } else { "  " };
            text = text + gap + key;
        }
    }
    text
}
