//! What a dashboard is made of, and Grafana's JSON of it (schema 38: Grafana 10 and later).

use serde_json::{Value, json};

/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;
const SCHEMA_VERSION: u32 = 38;
/// Least step over time, the chart's `metrics.scrapeInterval`. A data source says 15 s unless it is told, and
/// `$__rate_interval`, four of them, would have less than two scrapes in it.
const STEP: &str = "1m";
/// The same of what is counted in each step (`$__interval`), which wants some scrapes in it.
const COUNTING_STEP: &str = "5m";

pub(crate) struct Dashboard {
    /// Its address in Grafana, and the name of its file.
    pub(crate) uid: &'static str,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) variables: Vec<Variable>,
    /// Titles of the rows, with their panels.
    pub(crate) rows: Vec<(&'static str, Vec<Panel>)>,
}

/// A choice of values of a label.
pub(crate) struct Variable {
    pub(crate) label: &'static str,
    /// The selector that has them.
    pub(crate) of: &'static str,
    /// Whether all of them can be chosen, and are at first; else the first is.
    pub(crate) all: bool,
}

/// How a panel shows its series.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Stat,
    Lines,
    /// Lines that add up.
    Stacked,
    /// States over time, from 0 (bad) to 1.
    States,
    /// The present, a row of each set of labels.
    Table,
}

pub(crate) struct Query {
    pub(crate) expr: String,
    /// Legend of its series, or head of its column; empty in a table: only its labels are shown.
    pub(crate) name: &'static str,
    /// Unit of its column, where that is not the panel's.
    unit: Option<&'static str>,
}

pub(crate) struct Panel {
    kind: Kind,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    unit: &'static str,
    size: (u32, u32),
    pub(crate) queries: Vec<Query>,
    /// Value from which it is yellow, and red.
    thresholds: Option<(f64, f64)>,
}

impl Panel {
    pub(crate) fn new(kind: Kind, title: &'static str, unit: &'static str) -> Self {
        let size = match kind {
            Kind::Stat => (3, 4),
            Kind::Table => (COLUMNS, 10),
            Kind::Lines | Kind::Stacked | Kind::States => (12, 8),
        };
        Self { kind, title, description: "", unit, size, queries: Vec::new(), thresholds: None }
    }

    pub(crate) fn told(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    pub(crate) fn query(mut self, name: &'static str, expr: impl Into<String>) -> Self {
        self.queries.push(Query { expr: expr.into(), name, unit: None });
        self
    }

    /// A query whose column has a unit of its own.
    pub(crate) fn column(mut self, name: &'static str, unit: &'static str, expr: impl Into<String>) -> Self {
        self.queries.push(Query { expr: expr.into(), name, unit: Some(unit) });
        self
    }

    pub(crate) fn thresholds(mut self, yellow: f64, red: f64) -> Self {
        self.thresholds = Some((yellow, red));
        self
    }

    fn json(&self, id: u32, (x, y): (u32, u32)) -> Value {
        json!({
            "id": id,
            "type": self.kind.plugin(),
            "title": self.title,
            "description": self.description,
            "datasource": datasource(),
            "gridPos": { "x": x, "y": y, "w": self.size.0, "h": self.size.1 },
            "targets": self.queries.iter().enumerate().map(|(n, query)| self.target(n, query)).collect::<Vec<_>>(),
            "fieldConfig": { "defaults": self.defaults(), "overrides": self.overrides() },
            "options": self.kind.options(),
            "transformations": self.transformations(),
        })
    }

    fn target(&self, n: usize, query: &Query) -> Value {
        let now = matches!(self.kind, Kind::Stat | Kind::Table);
        let name = if self.kind == Kind::Table { "__auto" } else { query.name };
        let mut target = json!({
            "refId": reference(n),
            "datasource": datasource(),
            "expr": query.expr,
            "legendFormat": name,
            "instant": now,
            "range": !now,
            "format": if self.kind == Kind::Table { "table" } else { "time_series" },
        });
        if !now {
            target["interval"] = json!(if query.expr.contains("$__interval") { COUNTING_STEP } else { STEP });
        }
        target
    }

    fn defaults(&self) -> Value {
        let mut steps =
            vec![json!({ "color": if self.kind == Kind::States { "red" } else { "green" }, "value": null })];
        if let Some((yellow, red)) = self.thresholds {
            steps.push(json!({ "color": "yellow", "value": yellow }));
            steps.push(json!({ "color": "red", "value": red }));
        }
        if self.kind == Kind::States {
            steps.push(json!({ "color": "green", "value": 1 }));
        }
        let mut defaults = json!({
            "unit": self.unit,
            "color": { "mode": if matches!(self.kind, Kind::Lines | Kind::Stacked) { "palette-classic" } else { "thresholds" } },
            "thresholds": { "mode": "absolute", "steps": steps },
        });
        if self.unit != "percentunit" {
            defaults["decimals"] = json!(if self.kind == Kind::Stat { 1 } else { 2 });
        }
        if self.unit == "percentunit" || self.kind == Kind::Lines || self.kind == Kind::Stacked {
            defaults["min"] = json!(0);
        }
        if let Some(custom) = self.kind.custom() {
            defaults["custom"] = custom;
        }
        defaults
    }

    fn overrides(&self) -> Vec<Value> {
        let own = self.queries.iter().filter_map(|query| Some((query.name, query.unit?)));
        own.map(|(name, unit)| {
            json!({
                "matcher": { "id": "byName", "options": name },
                "properties": [{ "id": "unit", "value": unit }],
            })
        })
        .collect()
    }

    /// The queries of a table become the columns of one.
    fn transformations(&self) -> Vec<Value> {
        if self.kind != Kind::Table {
            return Vec::new();
        }
        let values = self.queries.iter().enumerate();
        // A table of one query has no letter.
        let head =
            |n| if self.queries.len() == 1 { "Value".to_owned() } else { format!("Value #{}", reference(n)) };
        let (mut hidden, mut heads) = (json!({ "Time": true }), json!({}));
        for (n, query) in values {
            if query.name.is_empty() {
                hidden[head(n)] = json!(true);
            } else {
                heads[head(n)] = json!(query.name);
            }
        }
        vec![
            json!({ "id": "merge", "options": {} }),
            json!({
                "id": "organize",
                "options": { "excludeByName": hidden, "indexByName": {}, "renameByName": heads },
            }),
        ]
    }
}

impl Kind {
    fn plugin(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Lines | Self::Stacked => "timeseries",
            Self::States => "state-timeline",
            Self::Table => "table",
        }
    }

    fn options(self) -> Value {
        let legend = json!({ "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true });
        match self {
            Self::Stat => json!({
                "colorMode": "value",
                "graphMode": "none",
                "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
            }),
            Self::Lines | Self::Stacked => {
                json!({ "legend": legend, "tooltip": { "mode": "multi", "sort": "desc" } })
            }
            Self::States => json!({ "legend": legend, "mergeValues": true, "showValue": "never" }),
            Self::Table => json!({ "showHeader": true }),
        }
    }

    fn custom(self) -> Option<Value> {
        match self {
            // Where nothing is known there is a gap.
            Self::Lines => Some(json!({ "drawStyle": "line", "fillOpacity": 0, "spanNulls": false })),
            Self::Stacked => Some(json!({
                "drawStyle": "line",
                "fillOpacity": 30,
                "spanNulls": false,
                "stacking": { "group": "A", "mode": "normal" },
            })),
            Self::Table => Some(json!({ "filterable": true })),
            Self::Stat | Self::States => None,
        }
    }
}

impl Variable {
    fn json(&self) -> Value {
        let query = format!("label_values({}, {})", self.of, self.label);
        let mut variable = json!({
            "name": self.label,
            "label": self.label,
            "type": "query",
            "datasource": datasource(),
            "query": { "query": query, "refId": "StandardVariableQuery" },
            "includeAll": self.all,
            "multi": true,
            // When the time range changes.
            "refresh": 2,
            "sort": 1,
            "hide": 0,
        });
        if self.all {
            // Matches series without the label, too: most Prometheus servers have no label cluster.
            variable["allValue"] = json!(".*");
            variable["current"] = json!({ "selected": true, "text": ["All"], "value": ["$__all"] });
        }
        variable
    }
}

impl Dashboard {
    /// Where it stands below the root.
    pub(crate) fn path(&self) -> String {
        format!("charts/gpu-session-monitoring/dashboards/{}.json", self.uid)
    }

    pub(crate) fn json(&self) -> Value {
        let source = json!({
            "name": "datasource", "label": "data source", "type": "datasource", "query": "prometheus", "hide": 0,
            "includeAll": false, "multi": false, "refresh": 1, "regex": "",
        });
        let variables = std::iter::once(source).chain(self.variables.iter().map(Variable::json));
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["gpu", "gpu-session-monitoring"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "1m",
            "time": { "from": "now-6h", "to": "now" },
            "timezone": "browser",
            "annotations": { "list": [] },
            "links": [{
                "type": "dashboards", "tags": ["gpu-session-monitoring"], "title": "GPU sessions", "asDropdown": true,
                "includeVars": true, "keepTime": true, "targetBlank": false, "icon": "external link", "tooltip": "",
                "url": "",
            }],
            "templating": { "list": variables.collect::<Vec<_>>() },
            "panels": self.panels(),
        })
    }

    /// Panels in reading order, each row below its title.
    fn panels(&self) -> Vec<Value> {
        let (mut panels, mut id, mut y) = (Vec::new(), 0, 0);
        for (title, row) in &self.rows {
            id += 1;
            panels.push(json!({
                "id": id, "type": "row", "title": title, "collapsed": false, "panels": [],
                "gridPos": { "x": 0, "y": y, "w": COLUMNS, "h": 1 },
            }));
            y += 1;
            let (mut x, mut height) = (0, 0);
            for panel in row {
                if x + panel.size.0 > COLUMNS {
                    (x, y, height) = (0, y + height, 0);
                }
                id += 1;
                panels.push(panel.json(id, (x, y)));
                x += panel.size.0;
                height = height.max(panel.size.1);
            }
            y += height;
        }
        panels
    }
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// A query's letter.
fn reference(n: usize) -> String {
    char::from(b'A' + u8::try_from(n).unwrap_or(25).min(25)).to_string()
}
