//! What is looked at and how: the last view, what is selected, sorted, grouped, filtered and paused.

use super::columns::{COLUMNS, Column};
use super::cursor::Cursor;
use super::history::History;
use super::lines::{Item, Key, Line, Place};
use super::sessions::Arrangement;
use super::{devices, sessions};
use crate::view::View;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Longest filter, in characters.
const MOST_FILTER: usize = 64;
/// Lines that a page up or down goes.
const PAGE: isize = 10;

/// What the sessions are grouped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// Nothing; where several nodes are looked at, by node.
    #[default]
    None,
    /// The person.
    User,
    /// The pod, or the unit, job or container.
    Pod,
    /// The device.
    Device,
}

impl Group {
    fn next(self) -> Self {
        match self {
            Self::None => Self::User,
            Self::User => Self::Pod,
            Self::Pod => Self::Device,
            Self::Device => Self::None,
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::User => "user",
            Self::Pod => "pod",
            Self::Device => "device",
        }
    }
}

/// What a key asks of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing but to draw anew.
    Draw,
    /// Look at the next sample now.
    Forward,
    /// Look at the sample before.
    Back,
    /// Give the terminal back until the shell brings it to the foreground again.
    Stop,
    /// Leave.
    End,
}

/// What keys mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Look,
    Filter,
    /// With how often the page was turned.
    Help(usize),
}

/// The pane that keys are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    Devices,
    Sessions,
}

/// All that the screen shows.
#[derive(Clone, Debug)]
pub struct State {
    view: View,
    has_looked: bool,
    problem: Option<String>,
    warnings: Vec<String>,
    asked_at: Option<f64>,
    position: Option<(usize, usize)>,
    paused: bool,
    mode: Mode,
    focus: Focus,
    detail: bool,
    arranged: Arrangement,
    devices: Vec<Line<Place<usize>>>,
    sessions: Vec<Line<Place<Item>>>,
    on_devices: Cursor,
    on_sessions: Cursor,
    history: History,
}

impl Default for State {
    fn default() -> Self {
        let arranged =
            Arrangement { sort: Column::Gpu, descending: false, group: Group::None, filter: String::new() };
        Self {
            view: View::default(),
            has_looked: false,
            problem: None,
            warnings: Vec::new(),
            asked_at: None,
            position: None,
            paused: false,
            mode: Mode::Look,
            focus: Focus::Sessions,
            detail: false,
            arranged,
            devices: Vec::new(),
            sessions: Vec::new(),
            on_devices: Cursor::default(),
            on_sessions: Cursor::default(),
            history: History::default(),
        }
    }
}

impl State {
    /// A look began at this time, Unix seconds.
    pub fn asked(&mut self, at: f64) {
        self.asked_at = Some(at);
    }

    /// The look is over. Where it failed, what was seen before stays, with the reason.
    pub fn looked(&mut self, result: Result<View, String>) {
        self.asked_at = None;
        match result {
            Ok(view) => {
                self.history.add(&view);
                self.view = view;
                self.has_looked = true;
                self.problem = None;
                self.arrange();
            }
            Err(problem) => self.problem = Some(problem),
        }
    }

    /// Why something may be missing in what was looked at, as its source said.
    pub fn warned(&mut self, warnings: Vec<String>) {
        self.warnings = warnings;
    }

    /// Which sample of a recording is shown, counted from 1, and of how many.
    pub fn at_sample(&mut self, at: usize, of: usize) {
        self.position = Some((at, of));
    }

    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) -> Wish {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return self.control(key.code);
        }
        match self.mode {
            Mode::Look => self.look_key(key.code),
            Mode::Filter => self.filter_key(key.code),
            Mode::Help(page) => match key.code {
                KeyCode::Char('q') => Wish::End,
                KeyCode::Char('j' | ' ') | KeyCode::Down | KeyCode::PageDown => {
                    self.turn(Mode::Help(page.wrapping_add(1)))
                }
                _ => self.turn(Mode::Look),
            },
        }
    }

    fn control(&mut self, code: KeyCode) -> Wish {
        match (code, self.mode) {
            (KeyCode::Char('c'), _) => return Wish::End,
            (KeyCode::Char('z'), _) => return Wish::Stop,
            (KeyCode::Char('u'), Mode::Filter) => self.filter(String::new()),
            _ => {}
        }
        Wish::Draw
    }

    fn look_key(&mut self, code: KeyCode) -> Wish {
        match code {
            KeyCode::Char('q') => return Wish::End,
            KeyCode::Esc => return self.close(),
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help(0),
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('>') | KeyCode::Right => self.sort_by(1),
            KeyCode::Char('<') | KeyCode::Left => self.sort_by(COLUMNS.len() - 1),
            KeyCode::Char('r') => {
                self.arranged.descending = !self.arranged.descending;
                self.arrange();
            }
            KeyCode::Char('g') => {
                self.arranged.group = self.arranged.group.next();
                self.arrange();
            }
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = if self.focus == Focus::Devices { Focus::Sessions } else { Focus::Devices };
            }
            KeyCode::Enter => self.detail = !self.detail,
            KeyCode::Char(' ') => self.paused = !self.paused,
            KeyCode::Char('.') => return self.stepped(Wish::Forward),
            KeyCode::Char(',') => return self.stepped(Wish::Back),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown => self.step(PAGE),
            KeyCode::PageUp => self.step(-PAGE),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            _ => {}
        }
        Wish::Draw
    }

    fn filter_key(&mut self, code: KeyCode) -> Wish {
        let mut filter = self.arranged.filter.clone();
        match code {
            KeyCode::Enter => return self.turn(Mode::Look),
            KeyCode::Esc => {
                filter.clear();
                self.mode = Mode::Look;
            }
            KeyCode::Backspace => drop(filter.pop()),
            KeyCode::Char(c) if !c.is_control() && filter.chars().count() < MOST_FILTER => filter.push(c),
            _ => {}
        }
        self.filter(filter);
        Wish::Draw
    }

    fn turn(&mut self, mode: Mode) -> Wish {
        self.mode = mode;
        Wish::Draw
    }

    /// Closes what is open; where nothing is, ends.
    fn close(&mut self) -> Wish {
        if self.detail {
            self.detail = false;
        } else if self.arranged.filter.is_empty() {
            return Wish::End;
        } else {
            self.filter(String::new());
        }
        Wish::Draw
    }

    /// Who steps looks at one sample for as long as he likes.
    fn stepped(&mut self, wish: Wish) -> Wish {
        self.paused = true;
        wish
    }

    fn sort_by(&mut self, further: usize) {
        let now = COLUMNS.iter().position(|column| *column == self.arranged.sort).unwrap_or(0);
        let mut next = COLUMNS[(now + further) % COLUMNS.len()];
        if next == Column::Node && self.view.nodes.len() < 2 {
            next = COLUMNS[(now + 2 * further) % COLUMNS.len()];
        }
        self.arranged.sort = next;
        self.arranged.descending = next.descending();
        self.arrange();
    }

    fn filter(&mut self, filter: String) {
        self.arranged.filter = filter;
        self.arrange();
    }

    fn step(&mut self, by: isize) {
        match self.focus {
            Focus::Devices => self.on_devices.step(&self.devices, by),
            Focus::Sessions => self.on_sessions.step(&self.sessions, by),
        }
    }

    fn arrange(&mut self) {
        self.sessions = sessions::list(&self.view, &self.arranged);
        self.devices = devices::list(&self.view, &self.arranged.filter, &self.sessions);
        self.on_sessions.settle(&self.sessions);
        self.on_devices.settle(&self.devices);
    }

    /// Whether nothing is looked at until a key says so.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn view(&self) -> &View {
        &self.view
    }

    pub(super) fn has_looked(&self) -> bool {
        self.has_looked
    }

    /// Why the last look failed.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Since when an answer is waited for.
    pub(super) fn asked_at(&self) -> Option<f64> {
        self.asked_at
    }

    pub(super) fn position(&self) -> Option<(usize, usize)> {
        self.position
    }

    pub(super) fn arranged(&self) -> &Arrangement {
        &self.arranged
    }

    pub(super) fn is_filtering(&self) -> bool {
        self.mode == Mode::Filter
    }

    pub(super) fn is_helping(&self) -> bool {
        matches!(self.mode, Mode::Help(_))
    }

    /// How often the page of the help was turned.
    pub(super) fn help_page(&self) -> usize {
        if let Mode::Help(page) = self.mode { page } else { 0 }
    }

    pub(super) fn has_detail(&self) -> bool {
        self.detail
    }

    pub(super) fn focus(&self) -> Focus {
        self.focus
    }

    pub(super) fn devices(&self) -> (&[Line<Place<usize>>], Option<usize>) {
        (&self.devices, self.on_devices.at())
    }

    pub(super) fn sessions(&self) -> (&[Line<Place<Item>>], Option<usize>) {
        (&self.sessions, self.on_sessions.at())
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// The selected device.
    pub(super) fn device(&self) -> Option<(&Key, Place<usize>)> {
        selected(&self.devices, &self.on_devices)
    }

    /// The selected session, or allocation that is held idle.
    pub(super) fn item(&self) -> Option<(&Key, Place<Item>)> {
        selected(&self.sessions, &self.on_sessions)
    }
}

fn selected<'a, T: Copy>(lines: &'a [Line<T>], cursor: &Cursor) -> Option<(&'a Key, T)> {
    lines.get(cursor.at()?)?.item()
}
