//! Who switched accounting on or off: the driver's own memory, which outlasts a client.

use std::fs::OpenOptions;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A switch: of which scenario and GPU, when in Unix microseconds, and on or off.
type Entry = (u64, usize, i64, bool);

/// What this process did, which is forgotten when it ends.
static MEMORY: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// The switches of a scenario: in a file, or in this process's memory only.
pub(super) struct Switches {
    /// Another scenario is another node.
    world: u64,
    file: Option<PathBuf>,
}

impl Switches {
    pub(super) fn of(scenario: &str, file: Option<PathBuf>) -> Self {
        let mut hasher = DefaultHasher::new();
        scenario.hash(&mut hasher);
        Self { world: hasher.finish(), file }
    }

    /// Adds one; an error is a text.
    pub(super) fn add(&self, gpu: usize, at_us: i64, on: bool) -> Result<(), String> {
        let Some(path) = &self.file else {
            MEMORY.lock().unwrap_or_else(PoisonError::into_inner).push((self.world, gpu, at_us, on));
            return Ok(());
        };
        // One write of one line, so that clients do not mix theirs.
        let line = format!("accounting {gpu} {at_us} {}\n", u8::from(on));
        let opened = OpenOptions::new().create(true).append(true).open(path);
        let written = opened.and_then(|mut file| file.write_all(line.as_bytes()));
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// Those of a GPU, in the order of time.
    pub(super) fn of_gpu(&self, gpu: usize) -> Vec<(i64, bool)> {
        let mut found: Vec<(i64, bool)> = if let Some(path) = &self.file {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.lines().filter_map(parse).filter(|(of, ..)| *of == gpu).map(|(_, at, on)| (at, on)).collect()
        } else {
            let memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = memory.iter().filter(|(world, of, ..)| (*world, *of) == (self.world, gpu));
            mine.map(|(.., at, on)| (*at, *on)).collect()
        };
        // Stable: at the same moment the later one counts.
        found.sort_by_key(|(at, _)| *at);
        found
    }
}

fn parse(line: &str) -> Option<(usize, i64, bool)> {
    let mut words = line.strip_prefix("accounting ")?.split(' ');
    let (gpu, at) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((gpu, at, words.next()? == "1"))
}
