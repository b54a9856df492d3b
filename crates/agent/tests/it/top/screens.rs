//! Screens, compared with those that are kept in tests/top; `UPDATE_GOLDEN=1` writes them anew.

use super::views::{five, hostile, many, nobody, source, three};
use super::{SEEN, buffer, press, screen, seen};
use crate::node::workspace;
use gpu_session_monitor::top::{SMALLEST, State};
use gpu_session_monitor::view::View;
use ratatui::style::Color;

const SMALL: (u16, u16) = (80, 24);
const MIDDLE: (u16, u16) = (120, 40);
const LARGE: (u16, u16) = (200, 60);

fn pressed(view: View, keys: &str) -> State {
    let mut state = seen(view);
    press(&mut state, keys);
    state
}

/// A device and a session as they were over some time.
pub(super) fn watched(keys: &str) -> State {
    let mut state = State::default();
    for second in 0..60_u32 {
        let mut view = five();
        let node = &mut view.nodes[0];
        node.timestamp = Some(SEEN - 60.0 + f64::from(second));
        // Not known for a while.
        let ratio = (!(20..25).contains(&second)).then(|| f64::from(second % 10) / 10.0);
        node.devices[2].utilization_ratio = ratio;
        node.sessions[2].sm_utilization_ratio = ratio;
        state.looked(Ok(view));
    }
    state.looked(Ok(five()));
    press(&mut state, keys);
    state
}

fn unwell() -> State {
    let mut view = five();
    let node = &mut view.nodes[0];
    node.timestamp = Some(SEEN - 300.0);
    node.sources.push(source("kubelet", &["/var/lib/kubelet/pod-resources/kubelet.sock: no such file"]));
    node.sources.push(source("kubernetes", &["401 Unauthorized", "timeout"]));
    let mut state = seen(view);
    state.looked(Err("http://gpu-7:9836: connection refused".to_owned()));
    state.asked(SEEN - 20.0);
    press(&mut state, " ");
    state
}

#[test]
fn screens_are_the_golden_ones() {
    let sizes = [("80x24", SMALL), ("120x40", MIDDLE), ("200x60", LARGE)];
    let states = [
        ("nobody", seen(nobody())),
        ("five", seen(five())),
        ("many", seen(many(500))),
        ("many-by-user", pressed(many(500), "g")),
        ("hostile", seen(hostile())),
        ("three-nodes", seen(three())),
        ("three-nodes-by-user", pressed(three(), "g")),
        ("session", watched(">>>>>kkk\n")),
        ("device", watched("\tjj\n")),
        ("held", pressed(five(), "/held\n\n")),
        ("filter", pressed(five(), "/ali")),
        ("unwell", unwell()),
        ("help", pressed(five(), "?")),
        ("first", State::default()),
    ];
    for (name, state) in states {
        for (size_name, size) in sizes {
            let text = screen(&state, size);
            let file = workspace().join("tests/top").join(format!("{name}-{size_name}.txt"));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&file, &text).unwrap();
            }
            let wanted = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(text == wanted, "{} differs (UPDATE_GOLDEN=1 writes it anew):\n{text}", file.display());
        }
    }
}

#[test]
fn a_driver_that_is_down_is_not_a_node_without_sessions() {
    let mut view = three();
    view.nodes.retain(|node| node.devices.is_empty());
    let text = screen(&seen(view), SMALL);
    for words in ["no device is known", "no session is known", "DOWN: nvml: nvmlInit_v2: driver not loaded"] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    assert!(screen(&seen(nobody()), SMALL).contains("no session\n"));
}

#[test]
fn every_word_of_the_help_can_be_read_on_the_smallest_screen() {
    let pages = |keys: &[&str]| {
        let shown = keys.iter().map(|keys| screen(&pressed(five(), keys), SMALLEST));
        shown.collect::<String>()
    };
    let text = pages(&["?", "?j", "?jj"]);
    assert!(!text.contains('…') && pages(&["?jjj"]) == pages(&["?"]), "{text}");
    let whole = screen(&pressed(five(), "?"), LARGE);
    let lines = || whole.lines().filter(|line| !line.is_empty());
    assert!(lines().count() > 20 && lines().all(|line| text.contains(line)), "{text}");
    for word in ["-", "NOT READ", "NO ANSWER", "free", "PAUSED", "WARNING", "at least", "Ctrl-Z"] {
        assert!(whole.contains(&format!("\n  {word} ")), "{word}:\n{whole}");
    }
}

#[test]
fn every_size_can_be_drawn_and_what_is_too_small_says_so() {
    for state in [seen(five()), seen(many(500)), seen(hostile()), watched("\n"), unwell(), State::default()] {
        for width in [1, 5, 40, 59, 60, 61, 74, 79, 100, 119, 300] {
            for height in [1, 2, 13, 14, 15, 25, 39, 41, 100] {
                let text = screen(&state, (width, height));
                let small = width < SMALLEST.0 || height < SMALLEST.1;
                if !small {
                    assert!(text.contains("q quit"), "{width}x{height}:\n{text}");
                } else if width > 30 && height > 4 {
                    assert!(text.contains("needs 60x14"), "{width}x{height}:\n{text}");
                }
            }
        }
    }
}

#[test]
fn names_that_workloads_choose_stay_in_their_columns() {
    for size in [SMALL, MIDDLE, LARGE] {
        let text = screen(&seen(hostile()), size);
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
        // Each session holds 1.0 GiB: that stands in the same column in each line.
        let buffer = buffer(&seen(hostile()), size, false);
        let reads = |x: u16, y: u16, text: &str| {
            text.chars()
                .zip(x..)
                .all(|(c, x)| buffer.cell((x, y)).is_some_and(|cell| cell.symbol() == c.to_string()))
        };
        let found: Vec<u16> =
            (0..size.1).filter_map(|y| (0..size.0).find(|x| reads(*x, y, " 1.0 GiB"))).collect();
        assert_eq!(found.len(), 9, "{text}");
        assert!(found.iter().all(|x| *x == found[0]), "{found:?}\n{text}");
    }
}

#[test]
fn without_colour_there_is_none_and_with_it_only_the_terminals_own() {
    let own = [Color::Reset, Color::Red, Color::Green, Color::Cyan, Color::Magenta];
    for state in [seen(five()), seen(three()), watched("\n"), unwell()] {
        for cell in &buffer(&state, MIDDLE, false).content {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
        }
        let painted = buffer(&state, MIDDLE, true);
        assert!(painted.content.iter().all(|cell| cell.bg == Color::Reset && own.contains(&cell.fg)));
        assert!(painted.content.iter().any(|cell| cell.fg != Color::Reset));
    }
}

#[test]
fn what_is_old_or_failed_is_called_so() {
    let text = screen(&unwell(), SMALL);
    for words in
        ["OLD: 5m02s ago", "PAUSED", "NOT READ: http://gpu-7:9836: connection refused", "NO ANSWER for 22s"]
    {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    let text = screen(&unwell(), LARGE);
    assert!(text.contains("and 2 problems more"), "{text}");
    let text = screen(&seen(three()), LARGE);
    assert!(text.contains("DOWN: gpu-8 nvml: nvmlInit_v2: driver not loaded (and 1 more)"), "{text}");
    assert!(text.contains("OLD: 1h00m ago"), "{text}");
}
