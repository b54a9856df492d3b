//! Stopping, as a shell stops what runs in it, and going on.

use anyhow::Context as _;
use ratatui::DefaultTerminal;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, enable_raw_mode};
use rustix::process::{Signal, getpgrp, getsid, kill_current_process_group};

/// Gives the terminal back and stops, until the shell brings the process to the foreground again, which [`take_again`] is
/// for; says whether it did. Whoever runs in its group is stopped with it, as by the terminal itself.
pub(super) fn stop(terminal: &mut DefaultTerminal) -> anyhow::Result<bool> {
    // Where no shell made a group for it, nobody could bring it back.
    if getsid(None).is_ok_and(|session| session == getpgrp()) {
        return Ok(false);
    }
    terminal.show_cursor()?;
    ratatui::restore();
    // SIGSTOP, for SIGTSTP is what we hear of.
    kill_current_process_group(Signal::STOP).context("this process cannot be stopped")?;
    Ok(true)
}

/// Takes the terminal over again, whatever is on it.
pub(super) fn take_again(terminal: &mut DefaultTerminal) -> anyhow::Result<()> {
    let screen = || execute!(std::io::stdout(), EnterAlternateScreen, Clear(ClearType::All));
    enable_raw_mode().and_then(|()| screen()).context("the terminal cannot be used again")?;
    // What is drawn next is compared with an empty screen. `clear` would ask where the cursor is, and the answer is read as keys.
    terminal.swap_buffers();
    Ok(())
}
