//! `top`: its screens by the test backend, its keys, and the program itself in tmux.

mod keys;
mod picture;
mod replayed;
mod screens;
mod terminal;
mod views;

use gpu_session_monitor::top::{State, Theme, Wish, draw};
use gpu_session_monitor::view::View;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::text::Span;

/// When the views of these tests were seen.
const SEEN: f64 = 1_700_000_600.0;
/// When they are looked at.
const NOW: f64 = SEEN + 2.0;

/// A state that has seen a view.
fn seen(view: View) -> State {
    let mut state = State::default();
    state.looked(Ok(view));
    state
}

/// Presses keys: characters are themselves, `\n` is Enter, `\t` Tab, `\u{1b}` Esc.
fn press(state: &mut State, keys: &str) -> Wish {
    keys.chars().fold(Wish::Draw, |_, key| {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            key => KeyCode::Char(key),
        };
        state.key(KeyEvent::new(code, KeyModifiers::NONE))
    })
}

fn buffer(state: &State, size: (u16, u16), color: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|frame| draw(frame, state, NOW, Theme { color })).unwrap();
    terminal.backend().buffer().clone()
}

/// What stands on the screen, without what is blank at the ends of lines.
fn screen(state: &State, size: (u16, u16)) -> String {
    let buffer = buffer(state, size, true);
    let mut text = String::new();
    for y in 0..size.1 {
        let mut line = String::new();
        let mut x = 0;
        while x < size.0 {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += u16::try_from(Span::raw(symbol).width().max(1)).unwrap();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
