//! `ps` on a terminal, and again and again.

use crate::node::{Node, scenario_file};
use crate::serve::wait_for;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

/// The program on a terminal of this size, and what it wrote there.
struct Terminal {
    child: Child,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(node: &Node, (columns, rows): (u16, u16), args: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        tcsetwinsize(&ours, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let mut command = node.command(args);
        let child = command.stdin(Stdio::null()).stdout(theirs).stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        let written = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&written);
        std::thread::spawn(move || {
            let (mut ours, mut some) = (File::from(ours), [0; 4096]);
            // At its end a terminal has an error.
            while let Ok(count @ 1..) = ours.read(&mut some) {
                kept.lock().unwrap().extend(&some[..count]);
            }
        });
        Self { child, written }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    fn ended(&mut self) -> i32 {
        wait_for("its end", || self.child.try_wait().unwrap().ok_or_else(String::new)).code().unwrap()
    }

    /// What it wrote, once it ended well and the last of it was read.
    fn whole(mut self) -> String {
        assert_eq!(self.ended(), 0);
        wait_for("the last line", || {
            Some(self.text()).filter(|text| text.contains("sessions: ")).ok_or_else(String::new)
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn node() -> Node {
    let mut node = Node::in_cluster(&scenario_file("demo.yaml"));
    node.at(600.0);
    node
}

/// The text without escape sequences.
fn plain(text: &str) -> String {
    regex_lite::Regex::new("\x1b\\[[0-9;?]*[A-Za-z]").unwrap().replace_all(text, "").replace('\r', "")
}

#[test]
fn no_row_is_wider_than_the_terminal_and_the_important_columns_stay() {
    let node = node();
    let wide = plain(&Terminal::start(&node, (240, 60), &["ps"]).whole());
    for columns in [40, 60, 80, 120] {
        let text = plain(&Terminal::start(&node, (columns, 60), &["ps"]).whole());
        for line in text.lines() {
            assert!(line.chars().count() <= usize::from(columns), "{columns}: {line:?}");
        }
        assert_eq!(text.lines().count(), wide.lines().count(), "{columns}: no row is wrapped\n{text}");
        for title in ["GPU", "USER", "SM %", "BUSY %"] {
            assert!(text.contains(title), "{columns}: {title}\n{text}");
        }
    }
    let whole = plain(&Terminal::start(&node, (80, 60), &["ps", "--wide"]).whole());
    for title in ["UUID", "PLACED BY", "CONTAINER", "SESSION"] {
        assert!(whole.contains(title), "{title}\n{whole}");
    }
}

#[test]
fn a_terminal_is_redrawn_in_place_until_ctrl_c() {
    let mut node = node();
    let mut terminal = Terminal::start(&node, (80, 20), &["ps", "--wide", "--watch", "200ms"]);
    let drawn = |terminal: &Terminal, time: &str| {
        wait_for(time, || {
            Some(terminal.text()).filter(|text| text.contains(time)).ok_or_else(|| terminal.text())
        })
    };
    drawn(&terminal, "2023-11-14T22:23:2");
    node.at(720.0);
    let text = drawn(&terminal, "2023-11-14T22:25:2");
    assert_eq!(text.matches("\x1b[2J").count(), 1, "the screen is emptied once");
    assert!(text.matches("\x1b[H").count() >= 2);
    for screen in text.split("\x1b[H").skip(1) {
        assert!(screen.matches("\r\n").count() < 20, "it scrolls: {screen:?}");
        let whole = plain(screen);
        assert!(whole.lines().all(|line| line.chars().count() <= 80), "it wraps: {screen:?}");
    }
    assert!(text.contains("more lines") && text.contains('…'), "{text}");
    assert!(!text.contains("\x1b[?"), "a mode that a signal would leave behind: {text:?}");
    kill_process(Pid::from_child(&terminal.child), Signal::INT).unwrap();
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn elsewhere_a_table_follows_the_other() {
    let node = node();
    let mut child = node.command(&["ps", "--watch", "200ms"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let (mut text, mut some) = (String::new(), [0; 4096]);
    while text.matches("\nsessions: ").count() < 2 {
        let count = out.read(&mut some).unwrap();
        assert!(count > 0, "{text}");
        text += std::str::from_utf8(&some[..count]).unwrap();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(text.starts_with("2023-11-14T22:23:2") && !text.contains('\x1b'), "{text}");
}

#[test]
fn json_is_a_document_a_line_and_a_reader_may_go() {
    let node = node();
    let mut child =
        node.command(&["ps", "--watch", "200ms", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    for _ in 0..2 {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let document: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(!document["sessions"].as_array().unwrap().is_empty());
    }
    drop(out);
    let status = wait_for("its end", || child.try_wait().unwrap().ok_or_else(String::new));
    assert_eq!(status.code(), Some(0));
}
