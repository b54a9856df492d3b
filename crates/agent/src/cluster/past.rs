//! Periods: what was used, who had a device when, and figures over time. Each is a few queries of Prometheus.

use super::Unanswered;
use super::flights::Flights;
use super::promql::{self, Series};
use crate::report::period::Period;
use crate::report::prometheus::client::Client;
use crate::report::prometheus::{Options, Prometheus};
use crate::report::{By, Line};
use gpu_session_api::{FigureSeries, Figures, SCHEMA_VERSION, Timeline};
use gpu_session_core::ids::GpuLabel;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

mod timeline;

/// An answer is given again for so long.
const LASTS: Duration = Duration::from_secs(60);
/// Answers of each kind that are kept.
const MOST_KEPT: usize = 32;
/// Moments of a figure, about.
const MOMENTS: i64 = 300;
/// Seconds between two moments, at least.
const LEAST_STEP: i64 = 15;
/// Seconds over which a rate is taken, at least: a counter that is scraped each minute has its values there.
const LEAST_RATE: i64 = 300;
/// Longer than this a device is not looked at between two moments only, but on average.
const LONGEST_GLANCE: i64 = 60;

/// Questions that Prometheus is asked at once.
const MOST_QUERIES: usize = 2;

/// Asks of periods. What is asked twice within a minute is answered once, and all answers of Prometheus to one question have
/// one deadline.
pub struct Past {
    asks: Arc<Asks>,
    turns: Arc<Semaphore>,
    used: Arc<Flights<Period, Used>>,
    timelines: Arc<Flights<(String, GpuLabel, Period), Timeline>>,
    figures: Arc<Flights<(About, Period), Figures>>,
}

/// What each user used in a period.
pub struct Used {
    /// By user.
    pub lines: Vec<Line>,
    /// What Prometheus said to its answers.
    pub warnings: Vec<String>,
}

/// Whom to ask.
struct Asks {
    client: Client,
    usage: Prometheus,
    matcher: String,
}

/// What figures are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A device of a node; the index of a GPU stands for its MIG instances together.
    Device(String, GpuLabel),
    /// A user; empty: what nobody is known for.
    User(String),
}

impl Past {
    /// Of the server that the options name, without a request; what is wrong with them is wrong usage.
    pub fn of(options: &Options<'_>) -> anyhow::Result<Self> {
        let asks = Asks {
            client: Client::new(options)?,
            usage: Prometheus::new(options)?,
            matcher: options.matcher.unwrap_or("").trim().to_owned(),
        };
        Ok(Self {
            asks: Arc::new(asks),
            turns: Arc::new(Semaphore::new(MOST_QUERIES)),
            used: Flights::new(MOST_KEPT, LASTS),
            timelines: Flights::new(MOST_KEPT, LASTS),
            figures: Flights::new(MOST_KEPT, LASTS),
        })
    }

    /// What each user used, as `report` says it.
    pub async fn used(&self, period: Period) -> Result<Arc<Used>, Unanswered> {
        let asks = Arc::clone(&self.asks);
        self.used.answer(period, &self.turns, move || asks.used(period)).await
    }

    /// Who had a device of a node.
    pub async fn timeline(
        &self,
        node: String,
        gpu: GpuLabel,
        period: Period,
    ) -> Result<Arc<Timeline>, Unanswered> {
        let asks = Arc::clone(&self.asks);
        let ask = {
            let node = node.clone();
            move || timeline::ask(&asks.client.for_one_question(), &asks.matcher, &node, gpu, period)
        };
        self.timelines.answer((node, gpu, period), &self.turns, ask).await
    }

    /// Figures over the period.
    pub async fn figures(&self, about: About, period: Period) -> Result<Arc<Figures>, Unanswered> {
        let asks = Arc::clone(&self.asks);
        let key = (about.clone(), period);
        self.figures.answer(key, &self.turns, move || asks.figures(&about, period)).await
    }
}

impl Asks {
    fn used(&self, period: Period) -> anyhow::Result<Used> {
        let answer = self.usage.for_one_question().usage(&period, By::User)?;
        Ok(Used { lines: answer.lines, warnings: answer.warnings.into_iter().collect() })
    }

    fn figures(&self, about: &About, period: Period) -> anyhow::Result<Figures> {
        let moments = Moments::of(period);
        let expressions = match about {
            About::Device(node, gpu) => {
                of_device(&Series::of_device(node, *gpu, &self.matcher), moments.step)
            }
            About::User(user) => of_user(&Series::of_user(user, &self.matcher), moments.step),
        };
        let client = self.client.for_one_question();
        let (mut series, mut warnings) = (Vec::new(), BTreeSet::new());
        for (figure, expression) in expressions {
            let answer = client.range(&expression, moments.first, moments.last, moments.step)?;
            warnings.extend(answer.warnings);
            let values = answer.series.into_iter().flat_map(|series| series.values);
            series.push(FigureSeries { figure: figure.to_owned(), values: moments.fill(values) });
        }
        let (since, until) = ends(period);
        let times = moments.times().map(|at| at as f64).collect();
        let warnings = warnings.into_iter().collect();
        Ok(Figures { schema_version: SCHEMA_VERSION, since, until, warnings, times, series })
    }
}

/// The period in whole minutes, so that those who ask in the same one are answered at once. One that is too short for that
/// stays as it is.
pub fn rounded(period: Period) -> Period {
    const MINUTE_US: i64 = 60_000_000;
    if period.until_us - period.since_us < 10 * MINUTE_US {
        return period;
    }
    let whole = |us: i64| us - us.rem_euclid(MINUTE_US);
    Period { since_us: whole(period.since_us), until_us: whole(period.until_us) }
}

/// Begin and end, Unix seconds.
pub(super) fn ends(period: Period) -> (f64, f64) {
    (period.since_us as f64 / 1e6, period.until_us as f64 / 1e6)
}

/// The moments of a figure, Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moments {
    first: i64,
    last: i64,
    step: i64,
}

impl Moments {
    /// At multiples of the step, so that they stay where they are while the period moves on.
    fn of(period: Period) -> Self {
        let (since, until) = (period.since_us / 1_000_000, period.until_us / 1_000_000);
        let step = ((until - since) / MOMENTS).max(LEAST_STEP);
        let step = step + (LEAST_STEP - step % LEAST_STEP) % LEAST_STEP;
        let up = |at: i64| at + (step - at.rem_euclid(step)) % step;
        let last = until - until.rem_euclid(step);
        // Where none lies within, its end.
        if up(since) > last {
            Self { first: until, last: until, step }
        } else {
            Self { first: up(since), last, step }
        }
    }

    fn times(self) -> impl Iterator<Item = i64> {
        (0..=(self.last - self.first) / self.step).map(move |n| self.first + n * self.step)
    }

    fn fill(self, values: impl Iterator<Item = (f64, Option<f64>)>) -> Vec<Option<f64>> {
        let mut all: Vec<Option<f64>> = self.times().map(|_| None).collect();
        for (at, value) in values {
            let place = ((at - self.first as f64) / self.step as f64).round();
            if let Some(slot) = all.get_mut(place.max(0.0) as usize) {
                *slot = value;
            }
        }
        all
    }
}

type Expression = (&'static str, String);

/// A device as a whole, whoever scraped it how often: of all that say the same one is taken.
fn of_device(series: &Series, step: i64) -> Vec<Expression> {
    let lately = |selector: &str| {
        if step <= LONGEST_GLANCE {
            selector.to_owned()
        } else {
            format!("avg_over_time({selector}[{}s])", step.max(LEAST_RATE))
        }
    };
    let each = |metric: &str, labels: &str| {
        format!("max by (gpu, exported_gpu{labels}) ({})", series.any(metric, lately))
    };
    let of = |metric: &str| each(metric, "");
    let (used, total) = (of("gpu_device_memory_used_bytes"), of("gpu_device_memory_total_bytes"));
    let users = each("gpu_user_sessions", ", user, exported_user");
    vec![
        ("utilization_ratio", format!("avg({})", of("gpu_device_utilization_ratio"))),
        ("memory_used_ratio", format!("sum({used} and {total}) / sum({total} and {used})")),
        ("sessions", format!("sum({})", of("gpu_session_count"))),
        // Where the users are known and there is none, it is 0.
        (
            "users",
            format!(
                "count(count by (user, exported_user) ({users} > 0)) or 0 * sum({})",
                of("gpu_session_users")
            ),
        ),
    ]
}

fn of_user(series: &Series, step: i64) -> Vec<Expression> {
    let mut all = Vec::new();
    for (figure, counter) in [
        ("gpus_busy", "gpu_user_sm_seconds_total"),
        ("gpus_held", "gpu_user_allocation_seconds_total"),
        ("gpus_held_idle", "gpu_user_idle_allocation_seconds_total"),
        ("sessions", "gpu_user_session_seconds_total"),
    ] {
        let rates = series.any(counter, |selector| format!("rate({selector}[{}s])", step.max(LEAST_RATE)));
        all.push((figure, format!("sum(max by ({}) ({}))", promql::DEVICE, promql::by_device(&rates))));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(since: i64, until: i64) -> Period {
        Period { since_us: since * 1_000_000, until_us: until * 1_000_000 }
    }

    #[test]
    fn a_figure_has_some_three_hundred_moments_that_stay_where_they_are() {
        for (length, step) in [(30, 15), (3_600, 15), (86_400, 300), (7 * 86_400, 2_025)] {
            let begin = 1_748_736_007;
            let moments = Moments::of(period(begin, begin + length));
            assert_eq!(moments.step, step, "{length}");
            let times: Vec<i64> = moments.times().collect();
            assert!(times.len() <= 301 && times.iter().all(|at| at % step == 0), "{length}: {}", times.len());
            assert!(times[0] >= begin && *times.last().unwrap() <= begin + length);
        }
        let short = Moments::of(period(1_748_736_001, 1_748_736_004));
        assert_eq!(short.times().collect::<Vec<_>>(), [1_748_736_004]);
    }

    #[test]
    fn what_has_no_value_is_null() {
        let moments = Moments { first: 60, last: 120, step: 15 };
        let values = [(60.0, Some(1.0)), (90.0, None), (120.0, Some(0.0)), (135.0, Some(9.0))];
        assert_eq!(moments.fill(values.into_iter()), [Some(1.0), None, None, None, Some(0.0)]);
    }

    #[test]
    fn who_asks_in_the_same_minute_asks_of_the_same_period() {
        assert_eq!(rounded(period(61, 3_719)), period(60, 3_660));
        assert_eq!(rounded(period(61, 119)), period(61, 119));
    }

    #[test]
    fn replicas_and_ways_to_scrape_count_once() {
        let gpu = GpuLabel { gpu: 0, instance: None };
        for (_, expression) in of_device(&Series::of_device("n", gpu, ""), 15) {
            assert!(
                !expression.contains("replica") && expression.contains("max by (gpu, exported_gpu"),
                "{expression}"
            );
        }
        for (_, expression) in of_user(&Series::of_user("a", "cluster=\"x\""), 15) {
            assert!(
                expression.starts_with("sum(max by (of_cluster, of_node, of_gpu) (label_replace("),
                "{expression}"
            );
            assert!(
                expression.matches("cluster=\"x\"").count() == 2 && expression.contains("[300s]"),
                "{expression}"
            );
        }
    }
}
