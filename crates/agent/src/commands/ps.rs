//! `ps`: who is where, now. On this node it reads the state of `collect`, so that it knows since when, and changes nothing.

use crate::cli::{PsArgs, ShowArgs};
use crate::exit::{Exit, Failure};
use crate::outputs::table::{self, Look};
use crate::outputs::terminal;
use crate::say;
use crate::settings::Settings;
use crate::view::filter::{Filter, Left};
use crate::view::local::Local;
use crate::view::{self, Looks, View};
use gpu_session_api::Sessions;
use gpu_session_core::json::SCHEMA_VERSION;
use gpu_session_core::text::clean_value;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::kubernetes::Mode;
use serde::Serialize;

mod watch;

pub(super) fn run(args: &PsArgs) -> Result<Exit, Failure> {
    let local = args.look.is_local();
    // On this node --node is its name.
    let nodes = args.common.node.iter().filter(|_| args.look.prometheus.is_some()).cloned().collect();
    let filter = filter(&args.show, nodes, args.namespace.clone());
    let clock = Settings::clock(&args.common)?;
    let page = Page { show: args.show.clone(), filter, clock, local };
    if local && page.show.watch.is_none() {
        return once(args, &page);
    }
    show(view::source(&args.look, &args.common)?, page)
}

/// What of a view is shown, by the arguments.
pub(super) fn filter(show: &ShowArgs, nodes: Vec<String>, namespaces: Vec<String>) -> Filter {
    Filter {
        nodes,
        users: show.user.clone(),
        namespaces,
        pods: show.pod.clone(),
        devices: show.gpu.clone(),
        idle: show.idle,
    }
}

/// What is shown, and what it comes to.
struct Shown {
    text: String,
    left: Left,
}

/// This node, once.
fn once(args: &PsArgs, page: &Page) -> Result<Exit, Failure> {
    let settings = Settings::resolve(&args.common)?;
    let mut local = Local::new(&settings, Mode::Once)?;
    let view = local.look()?;
    let Some(sample) = local.sample() else { return Ok(Exit::Failed) };
    say::health(sample);
    let outcome = super::outcome(sample);
    if !page.show.json && sample.driver.is_none() {
        return Ok(outcome);
    }
    let shown = page.render(view)?;
    shown.left.absent.iter().for_each(say::warn);
    super::print(&shown.text)?;
    Ok(if outcome == Exit::Ok && !shown.left.absent.is_empty() { Exit::Partial } else { outcome })
}

/// What others say, once or again and again.
pub(super) fn show(mut source: Box<dyn Looks + Send>, page: Page) -> Result<Exit, Failure> {
    if let Some(interval) = page.show.watch {
        return watch::run(source, page, interval);
    }
    let view = source.look()?;
    source.warnings().iter().for_each(say::warn);
    problems(&view).iter().for_each(say::warn);
    let now = page.now();
    let whole = view.nodes.iter().all(|node| node.is_whole(now)) && source.warnings().is_empty();
    let shown = page.render(view)?;
    shown.left.absent.iter().for_each(say::warn);
    super::print(&shown.text)?;
    Ok(if whole && shown.left.absent.is_empty() { Exit::Ok } else { Exit::Partial })
}

/// What sources could not read.
fn problems(view: &View) -> Vec<String> {
    let many = view.nodes.len() > 1;
    let of_node = |node: &view::NodeView| {
        let place = node.node.as_ref().filter(|_| many).map(|node| format!("{node}: ")).unwrap_or_default();
        let sources = node.sources.iter().filter(|source| !source.up || !source.errors.is_empty());
        let lines = sources.flat_map(move |source| {
            // Metrics have no words.
            let unsaid = source.errors.is_empty().then(|| "it did not answer everything".to_owned());
            let errors = source.errors.clone().into_iter().chain(unsaid);
            let place = place.clone();
            // Each is a line, whatever others wrote.
            let line = move |error| clean_value(&format!("{place}{}: {error}", source.source));
            errors.map(line).collect::<Vec<_>>()
        });
        lines.collect::<Vec<_>>()
    };
    let mut all: Vec<String> = view.nodes.iter().flat_map(of_node).collect();
    let more = all.len().saturating_sub(MOST_PROBLEMS);
    all.truncate(MOST_PROBLEMS);
    all.extend((more > 0).then(|| format!("and {more} more")));
    all
}

/// Of many nodes' problems no more are told at once.
const MOST_PROBLEMS: usize = 20;

/// How views are written.
pub(super) struct Page {
    /// The arguments.
    pub(super) show: ShowArgs,
    /// What is shown.
    pub(super) filter: Filter,
    /// By which ages are told.
    pub(super) clock: Clock,
    /// Whether it is this node, measured now.
    pub(super) local: bool,
}

/// JSON of many nodes.
#[derive(Serialize)]
struct Document {
    schema_version: u32,
    #[serde(flatten)]
    view: View,
}

impl Page {
    fn now(&self) -> f64 {
        self.clock.now_us() as f64 / 1e6
    }

    /// As long as it is, or as wide as the terminal.
    fn render(&self, mut view: View) -> anyhow::Result<Shown> {
        let now = (!self.local).then(|| self.now());
        let left = self.filter.apply(&mut view, now);
        if self.show.json {
            return Ok(Shown { text: self.json(view)?, left });
        }
        let width = terminal::size().map(|(columns, _)| columns).filter(|_| !self.show.wide);
        let look = Look { width, wide: self.show.wide, now, filter: self.filter.words(), left: left.clone() };
        Ok(Shown { text: table::view(&view, &look), left })
    }

    fn json(&self, mut view: View) -> anyhow::Result<String> {
        let document = match view.nodes.pop() {
            Some(node) if self.local => serde_json::to_value(Sessions {
                schema_version: SCHEMA_VERSION,
                timestamp: node.timestamp.unwrap_or_default(),
                sources: node.sources,
                sessions: node.sessions,
                next_cursor: None,
            })?,
            last => {
                view.nodes.extend(last);
                serde_json::to_value(Document { schema_version: SCHEMA_VERSION, view })?
            }
        };
        let text = if self.show.watch.is_some() {
            serde_json::to_string(&document)?
        } else {
            serde_json::to_string_pretty(&document)?
        };
        Ok(text + "\n")
    }
}
