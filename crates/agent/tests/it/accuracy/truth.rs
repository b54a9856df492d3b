//! What really happens in a case, and which of it the driver tells. Worked out from the case's own numbers by plain
//! sums: nothing of the program's arithmetic is used.

/// The driver's sample period and how long it keeps samples, milliseconds: those of the scenarios.
const PERIOD_MS: i64 = 200;
const KEEP_MS: i64 = 120_000;

/// How the driver answers for the use of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Every sample of the last two minutes.
    Ring,
    /// The last sample of what runs.
    Last,
}

impl Style {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Last => "last",
        }
    }
}

/// From a moment on: percent of the device's SM time, and MiB held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) at_ms: i64,
    pub(crate) sm: i64,
    pub(crate) mib: i64,
}

/// A session; times in milliseconds since the case's beginning.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) pid: u32,
    pub(crate) name: &'static str,
    pub(crate) uid: u32,
    /// Whose it is; nobody's where no person is behind it.
    pub(crate) user: Option<String>,
    pub(crate) cgroup: String,
    pub(crate) gpu: u32,
    pub(crate) instance: Option<Instance>,
    /// A client of an MPS server.
    pub(crate) mps: bool,
    pub(crate) from_ms: i64,
    pub(crate) until_ms: i64,
    /// In order of time; the first one begins with the session.
    pub(crate) loads: Vec<Load>,
}

/// A MIG instance, as far as a session has to do with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instance {
    pub(crate) id: u32,
    /// Compute slices of the GPU's seven.
    pub(crate) slices: u32,
}

impl Session {
    /// The device's label.
    pub(crate) fn label(&self) -> String {
        self.instance
            .map_or_else(|| self.gpu.to_string(), |instance| format!("{}_{}_0", self.gpu, instance.id))
    }

    pub(crate) fn is_long(&self) -> bool {
        self.until_ms - self.from_ms >= 1_000
    }

    /// Loads with their ends.
    fn spans(&self) -> impl Iterator<Item = (i64, i64, Load)> {
        let ends = self.loads.iter().skip(1).map(|load| load.at_ms).chain([self.until_ms]);
        self.loads.iter().zip(ends).map(|(load, end)| (load.at_ms, end, *load))
    }

    /// Seconds of SM time, in whole GPUs.
    pub(crate) fn sm_seconds(&self) -> f64 {
        let share = self.instance.map_or(1.0, |instance| f64::from(instance.slices) / 7.0);
        let percent: i64 = self.spans().map(|(from, to, load)| (to - from) * load.sm).sum();
        percent as f64 / 100_000.0 * share
    }

    /// The integral of the memory over time.
    pub(crate) fn memory_byte_seconds(&self) -> f64 {
        let held: i64 = self.spans().map(|(from, to, load)| (to - from) * load.mib).sum();
        held as f64 / 1_000.0 * 1_048_576.0
    }

    /// Whether the process has its context at a moment.
    pub(crate) fn is_there(&self, at_ms: i64) -> bool {
        (self.from_ms..self.until_ms).contains(&at_ms)
    }

    /// Whether a reading of the driver at one of these moments tells of it: it is listed then, or the driver keeps a
    /// sample in which it worked, or (with accounting, which knows the last context of a pid) a record of it.
    ///
    /// Samples and records name a pid: they tell of another process than the one before of that pid only if the pid was
    /// looked for in between.
    pub(crate) fn is_told(&self, all: &[Self], readings_ms: &[i64], style: Style, accounting: bool) -> bool {
        let Some(first) = readings_ms.first() else { return false };
        let of_pid = || all.iter().filter(|other| other.pid == self.pid && other.gpu == self.gpu);
        let again = of_pid().map(|other| other.from_ms).filter(|from| *from > self.from_ms).min();
        let before = of_pid().map(|other| other.until_ms).filter(|until| *until <= self.from_ms).max();
        let between = |before| readings_ms.iter().any(|at| (before..self.from_ms).contains(at));
        let is_another = before.is_none_or(between);
        readings_ms.iter().any(|at| {
            // What was there before the first reading is nobody's to tell.
            let over = self.until_ms <= *at && self.from_ms > *first && self.instance.is_none() && is_another;
            let kept = style == Style::Ring && self.is_kept(*at);
            let recorded = accounting && again.is_none_or(|again| again > *at);
            self.is_there(*at) || (over && (kept || recorded))
        })
    }

    /// Whether the driver keeps a sample at a moment in which the session worked.
    fn is_kept(&self, at_ms: i64) -> bool {
        let newest = at_ms.div_euclid(PERIOD_MS) * PERIOD_MS;
        let worked = self.spans().filter(|(from, to, load)| load.sm > 0 && from < to);
        // The sample that its last work falls into, if that has ended.
        let ends = worked.map(|(_, to, _)| (to - 1).div_euclid(PERIOD_MS) * PERIOD_MS + PERIOD_MS);
        ends.filter(|end| *end <= newest).max().is_some_and(|end| end > at_ms - KEEP_MS)
    }
}
