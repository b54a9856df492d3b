//! A writer that is killed, and a reader beside one that is not.

use super::*;
use crate::report::By;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStderr, Command, Stdio};

const KILLS: u32 = 30;

/// Every write is of this much later, so that the ledger is looked after as well.
const STEP_US: i64 = 20 * 60 * SECOND;

/// Of a step: four sessions and an allocation that go on by a second each, and one session of three seconds.
fn rows(step: i64) -> Rows {
    let end = NOW + step * STEP_US;
    let going = (0..4).map(|id| {
        let mut row = session(id, NOW, end);
        row.session.session_seconds = step as f64;
        row.session.sm_seconds = counter(step as f64);
        row
    });
    let mut brief = past(1000 + step as u64, end - 3 * SECOND, end);
    brief.session.sm_seconds = counter(3.0);
    let mut held = allocation("pod", NOW, end);
    held.allocation.allocated_seconds = step as f64;
    Rows { sessions: going.chain([brief]).collect(), allocations: vec![held] }
}

/// The last step that the ledger has, whole.
fn step_of(db: &Connection) -> i64 {
    let step: i64 = one(db, "SELECT count(*) FROM session WHERE ended = 1").parse().unwrap();
    let going = format!("{} {0} {0} {0}", 4 * step);
    let sums = "SELECT sum(t.session_seconds), sum(t.sm_seconds),
        (SELECT sum(session_seconds) FROM session_use WHERE id IN (SELECT id FROM session WHERE ended = 0)),
        (SELECT sum(sm_seconds) FROM session_use WHERE id IN (SELECT id FROM session WHERE ended = 0))
        FROM session t WHERE ended = 0";
    if step > 0 {
        assert_eq!(one(db, sums), going);
    }
    let brief = "SELECT count(*), coalesce(sum(ended), 0), coalesce(sum(session_seconds), 0) FROM session_use
        WHERE id IN (SELECT id FROM session WHERE ended = 1)";
    assert_eq!(one(db, brief), format!("{step} {step} {}", 3 * step));
    let held = "SELECT coalesce(sum(t.allocated_seconds), 0),
        (SELECT coalesce(sum(allocated_seconds), 0) FROM allocation_use) FROM allocation t";
    assert_eq!(one(db, held), format!("{step} {step}"));
    step
}

/// The child: goes on from what is there for as long as it is let, and says each step that is written.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os("LEDGER_WRITER") else { return };
    let mut ledger = open(Path::new(&folder));
    let begin = step_of(db(&ledger));
    for step in begin + 1.. {
        ledger.write(&rows(step), NOW + step * STEP_US).unwrap();
        // Whole, or not at all.
        std::io::stderr().write_all(format!("{step}\n").as_bytes()).unwrap();
    }
}

struct Writer {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
}

impl Writer {
    fn spawn(folder: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "ledger::tests::kill::writer", "--nocapture"]);
        command.env("LEDGER_WRITER", folder).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, said }
    }

    /// The next step that is written; `None` after the end.
    fn next(&mut self) -> Option<i64> {
        let line = self.said.next()?.unwrap();
        Some(line.parse().unwrap_or_else(|_| panic!("the writer says {line:?}")))
    }

    /// Kills it; returns the last step that it said.
    fn kill(mut self, mut last: i64) -> i64 {
        self.child.kill().unwrap();
        while let Some(step) = self.next() {
            last = step;
        }
        let status = self.child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        last
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let seed = getrandom::u64().unwrap();
    let mut random = seed;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    let (mut merged, mut last) = (false, 0);
    for kill in 0..KILLS {
        let mut writer = Writer::spawn(folder.path());
        let mut said = writer.next().expect("it writes");
        for _ in 0..below(30) {
            said = writer.next().expect("it writes");
        }
        // Somewhere within the next writes.
        std::thread::sleep(Duration::from_micros(below(8000)));
        let said = writer.kill(said);
        let ledger = open(folder.path());
        let step = step_of(db(&ledger));
        assert!(
            step == said || step == said + 1,
            "seed {seed}, kill {kill}: it said {said}, and there is {step}"
        );
        assert!(said > last, "each went on");
        assert_eq!(one(db(&ledger), "PRAGMA integrity_check"), "ok");
        assert!(!folder.path().join("ledger.db.damaged").exists());
        merged |= one(db(&ledger), "SELECT compacted_us FROM upkeep") != "0";
        last = step;
    }
    assert!(merged, "some were killed while old slices were merged: {last} steps");
}

#[test]
fn who_reads_sees_whole_writes_and_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::spawn(folder.path());
    let mut said = writer.next().expect("it writes");
    let reader = Ledger::read(folder.path()).unwrap();
    let mut before = 0;
    for _ in 0..100 {
        said = writer.next().expect("it is not held up");
        let line = reader.usage(NOW, NOW + 1000 * DAY, By::User).unwrap();
        let seconds = |hours: Option<f64>| (hours.unwrap() * 3600.0).round() as u64;
        let [nobody] = &line[..] else { panic!("{line:?}") };
        let step = nobody.sessions;
        assert_eq!(seconds(nobody.session_hours), 4 * step + 3 * step);
        assert!(step >= said as u64 && step >= before, "{step} {said} {before}");
        before = step;
    }
    // And one that opens it anew, again and again.
    for _ in 0..20 {
        let reader = Ledger::read(folder.path()).unwrap();
        said = writer.next().expect("it is not held up");
        assert!(reader.usage(NOW, NOW + 1000 * DAY, By::User).unwrap()[0].sessions >= said as u64);
    }
    writer.kill(said);
    // Nobody writes now: what is in the log is read all the same.
    let reader = Ledger::read(folder.path()).unwrap();
    assert!(reader.usage(NOW, NOW + 1000 * DAY, By::User).unwrap()[0].sessions >= said as u64);
}
