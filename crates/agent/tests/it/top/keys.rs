//! What the keys do.

use super::views::{five, many, nobody, three};
use super::{SEEN, press, screen, seen};
use gpu_session_monitor::top::{SMALLEST, State, Wish};
use gpu_session_monitor::view::View;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

const WIDE: (u16, u16) = (200, 60);

/// The values of a column of the sessions, from the top; headings are left out.
fn column(state: &State, title: &str) -> Vec<String> {
    let text = screen(state, WIDE);
    let lines: Vec<&str> = text.lines().collect();
    let head = lines.iter().position(|line| line.contains("PID") && line.contains("STATE")).unwrap();
    let begins = |title: &str| lines[head].find(title).unwrap();
    // Columns of figures stand at the right.
    let (from, to) = match title {
        "GPU" => (begins("GPU"), begins("USER")),
        "USER" => (begins("USER"), begins("WHERE")),
        "PID" => (begins("PID") - 5, begins("PID") + 3),
        _ => panic!("{title}"),
    };
    let rows = lines[head + 1..lines.len() - 1].iter().filter(|line| line.len() > 60);
    rows.map(|line| line[from..to].trim().to_owned()).collect()
}

fn after(view: View, keys: &str) -> State {
    let mut state = seen(view);
    press(&mut state, keys);
    state
}

#[test]
fn sessions_sort_by_each_column_and_what_is_unknown_is_last() {
    let (triton, shell, blender, ray, nameless, held) = ("21010", "31001", "9077", "32500", "32600", "-");
    for (further, up, down) in [
        (0, [triton, held, blender, shell, ray, nameless], [blender, shell, ray, nameless, held, triton]),
        (1, [triton, shell, ray, blender, held, nameless], [held, blender, triton, shell, ray, nameless]),
        (2, [triton, held, blender, shell, ray, nameless], [shell, blender, held, triton, ray, nameless]),
        (3, [blender, triton, shell, ray, nameless, held], [nameless, ray, shell, triton, blender, held]),
        (4, [blender, shell, ray, triton, held, nameless], [triton, ray, shell, blender, held, nameless]),
    ] {
        let keys = ">".repeat(further);
        assert_eq!(column(&after(five(), &keys), "PID"), up, "{further}");
        assert_eq!(column(&after(five(), &(keys + "r")), "PID"), down, "{further}");
    }
    // The largest figure comes first, until that is turned round.
    for (further, down, up) in [
        (5, [ray, blender, nameless, shell, triton, held], [shell, nameless, blender, ray, triton, held]),
        (6, [ray, triton, shell, blender, held, nameless], [blender, shell, triton, ray, held, nameless]),
        (7, [triton, ray, shell, blender, held, nameless], [blender, shell, ray, triton, held, nameless]),
        (8, [shell, triton, blender, ray, nameless, held], [nameless, ray, triton, blender, shell, held]),
        (9, [held, shell, nameless, blender, ray, triton], [blender, ray, nameless, shell, held, triton]),
    ] {
        let keys = ">".repeat(further);
        let shown = |state: &State| column(state, "PID");
        assert_eq!(shown(&after(five(), &keys)), down, "{further}");
        assert_eq!(shown(&after(five(), &(keys + "r"))), up, "{further}");
    }
    // Ten columns on, it is the first again; and back is back.
    let first = screen(&seen(five()), WIDE);
    assert_eq!(screen(&after(five(), &">".repeat(10)), WIDE), first);
    assert_eq!(screen(&after(five(), ">><<<>"), WIDE), first);
}

#[test]
fn groups_have_headings_with_what_they_come_to() {
    for (keys, wanted) in [
        (
            "g",
            &[
                "alice: 3 sessions (1 idle), 62.0 GiB",
                "dave: 0 sessions, 1 held idle",
                "not known: 1 session (1 idle), -",
            ][..],
        ),
        ("gg", &["team-vision/alice-serving: 1 session, 20.0 GiB", "unit:blender.scope: 1 session, 5.0 GiB"]),
        ("ggg", &["GPU 0_1_0: 1 session, 20.0 GiB", "GPU 1: 4 sessions (2 idle), -"]),
    ] {
        let text = screen(&after(five(), keys), WIDE);
        for heading in wanted {
            assert!(text.lines().any(|line| line.trim() == *heading), "{keys}: {heading}\n{text}");
        }
    }
    assert_eq!(screen(&after(five(), "gggg"), WIDE), screen(&seen(five()), WIDE));
    let text = screen(&after(three(), "ggg"), WIDE);
    assert!(text.contains("gpu-7 GPU 1: 4 sessions"), "{text}");
}

#[test]
fn a_filter_finds_as_it_is_typed() {
    for (keys, found) in [
        ("/alice", &["21010", "31001", "32500"][..]),
        ("/ALICE python", &["31001"]),
        ("/team-vision", &["21010", "-"]),
        ("/held", &["-"]),
        ("/idle", &["-", "31001", "32600"]),
        ("/3g.40", &["21010"]),
        ("/907", &["9077"]),
        ("/alicex\u{8}", &["21010", "31001", "32500"]),
        ("/nobody-has-this", &[]),
    ] {
        let mut state = seen(five());
        for key in keys.chars() {
            let code = if key == '\u{8}' { KeyCode::Backspace } else { KeyCode::Char(key) };
            state.key(KeyEvent::new(code, KeyModifiers::NONE));
        }
        if found.is_empty() {
            assert!(screen(&state, WIDE).contains("nothing is found"), "{keys}");
        } else {
            assert_eq!(column(&state, "PID"), found, "{keys}");
        }
        // Devices of what is found stay, others go.
        assert!(!screen(&state, WIDE).contains("NOT READ"), "{keys}");
        let kept = press(&mut state, "\n");
        assert_eq!(kept, Wish::Draw);
        press(&mut state, "\u{1b}");
        assert_eq!(column(&state, "PID").len(), 6, "{keys}: Esc ends it");
    }
}

#[test]
fn a_filter_that_finds_devices_only_says_so() {
    let text = screen(&after(nobody(), "/h100"), WIDE);
    assert!(text.contains("no session is found") && text.contains("H100"), "{text}");
}

#[test]
fn the_selected_session_stays_selected_wherever_it_goes() {
    let marked = |state: &State| {
        let text = screen(state, WIDE);
        text.lines().find(|line| line.starts_with('>')).map(str::to_owned)
    };
    let mut state = after(many(500), &"j".repeat(100));
    let session = marked(&state).unwrap();
    let pid = session.split_whitespace().find(|word| word.len() == 4 && word.starts_with('1')).unwrap();
    for keys in [">>", "r", "g", "gg", "g", "/user", "\n"] {
        press(&mut state, keys);
        assert!(marked(&state).unwrap().contains(&format!(" {pid} ")), "{keys}: {:?}", marked(&state));
    }
    state.looked(Ok(many(500)));
    assert!(marked(&state).unwrap().contains(pid));
    // It ends: its neighbour is selected; all end: none is.
    let mut fewer = many(500);
    fewer.nodes[0].sessions.retain(|session| session.pid.to_string() != pid);
    state.looked(Ok(fewer));
    assert!(!marked(&state).unwrap().contains(&format!(" {pid} ")));
    let mut none = many(500);
    none.nodes[0].sessions.clear();
    state.looked(Ok(none));
    assert_eq!(marked(&state), None);
}

#[test]
fn keys_end_it_step_and_pause() {
    let control = |state: &mut State, c| state.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
    assert_eq!(press(&mut seen(five()), "q"), Wish::End);
    assert_eq!(press(&mut seen(five()), "\u{1b}"), Wish::End);
    assert_eq!(control(&mut seen(five()), 'c'), Wish::End);
    assert_eq!(control(&mut seen(five()), 'z'), Wish::Stop);
    for open in ["\n", "/ali\n", "?", "/ali"] {
        let mut state = after(five(), open);
        assert_eq!(press(&mut state, "\u{1b}"), Wish::Draw, "Esc closes {open:?} first");
        assert_eq!(press(&mut state, "\u{1b}"), Wish::End);
    }
    let mut state = after(five(), "/q");
    assert_eq!(column(&state, "PID").len(), 0, "q is a letter there");
    assert_eq!(control(&mut state, 'u'), Wish::Draw);
    assert_eq!(column(&state, "PID").len(), 6);
    let mut state = seen(five());
    press(&mut state, " ");
    assert!(state.is_paused());
    press(&mut state, " ");
    assert!(!state.is_paused());
    assert_eq!(press(&mut state, "."), Wish::Forward);
    assert!(state.is_paused());
    assert_eq!(press(&mut state, ","), Wish::Back);
}

#[test]
fn sums_beyond_all_bounds_do_not_end_it() {
    let mut view = five();
    let node = &mut view.nodes[0];
    node.sessions.iter_mut().for_each(|session| session.memory_used_bytes = Some(u64::MAX));
    node.devices.iter_mut().for_each(|device| device.sessions = Some(u64::MAX));
    for keys in ["", "g", "gg", "ggg"] {
        for size in [SMALLEST, (80, 24), WIDE] {
            assert!(screen(&after(view.clone(), keys), size).contains("q quit"), "{keys}");
        }
    }
}

#[test]
fn what_the_source_warned_of_is_told_and_nothing_is_called_whole() {
    let mut state = seen(nobody());
    assert!(screen(&state, WIDE).contains(", 0 sessions (0 idle)"));
    state.warned(vec!["a store did not answer".to_owned()]);
    state.looked(Ok(nobody()));
    let text = screen(&state, WIDE);
    for words in ["WARNING: a store did not answer", "at least 0 sessions", "no session is known"] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

#[test]
fn a_look_that_failed_leaves_what_was_seen_and_says_so_until_one_succeeds() {
    let mut state = seen(five());
    state.looked(Err("the agent is gone".to_owned()));
    let text = screen(&state, WIDE);
    assert!(text.contains("NOT READ: the agent is gone") && text.contains("31001"), "{text}");
    let mut view = five();
    view.nodes[0].timestamp = Some(SEEN + 1.0);
    state.looked(Ok(view));
    assert!(!screen(&state, WIDE).contains("NOT READ: "));
}
