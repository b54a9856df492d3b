//! Expressions that name a node, a device or a user.

use gpu_session_core::ids::GpuLabel;
use std::fmt::Write as _;

/// A value in an expression: a string of PromQL, whatever is in it.
pub(super) fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// Labels of the series of one device, whoever scraped it: those that [`by_device`] gives.
pub(super) const DEVICE: &str = "of_cluster, of_node, of_gpu";

/// These series with labels that say of which device they are, the same ones however it was scraped: ours are taken where they
/// were renamed, and the target's address only where there is no name. All other labels stay.
pub(super) fn by_device(series: &str) -> String {
    let told = [
        ("of_cluster", &["cluster", "exported_cluster"][..]),
        ("of_node", &["instance", "node", "exported_node"]),
        ("of_gpu", &["gpu", "exported_gpu"]),
    ];
    let each = told.iter().flat_map(|(to, from)| from.iter().map(move |from| (to, from)));
    each.fold(series.to_owned(), |series, (to, from)| {
        format!("label_replace({series}, \"{to}\", \"$1\", \"{from}\", \"(.+)\")")
    })
}

/// The ways in which series can be of what is asked for, as matchers: a label of ours is renamed `exported_` where the
/// target has it too and Prometheus was not told to honor ours. No series is in two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series(Vec<String>);

impl Series {
    /// Of this device of this node; the index of a GPU takes its MIG instances too.
    pub(super) fn of_device(node: &str, gpu: GpuLabel, matcher: &str) -> Self {
        let instances = if gpu.instance.is_none() { "(_[0-9]+_[0-9]+)?" } else { "" };
        // Digits and `_` mean themselves in a regular expression.
        let gpu = format!("=~\"{gpu}{instances}\"");
        let gpus = [format!("exported_gpu{gpu}"), format!("exported_gpu=\"\",gpu{gpu}")];
        Self(of_node(node)).and(&gpus).and(&[matcher.to_owned()])
    }

    /// Of this node.
    pub(super) fn of_node(node: &str, matcher: &str) -> Self {
        Self(of_node(node)).and(&[matcher.to_owned()])
    }

    /// Of this user; empty: of what nobody is known for.
    pub(super) fn of_user(user: &str, matcher: &str) -> Self {
        let user = quoted(user);
        let mut ways = vec![format!("exported_user=\"\",user={user}")];
        if user != "\"\"" {
            ways.push(format!("exported_user={user}"));
        }
        Self(ways).and(&[matcher.to_owned()])
    }

    fn and(self, further: &[String]) -> Self {
        let pairs = self.0.iter().flat_map(|a| further.iter().map(move |b| (a, b)));
        let both = |(a, b): (&String, &String)| if b.is_empty() { a.clone() } else { format!("{a},{b}") };
        Self(pairs.map(both).collect())
    }

    /// What `of` makes of the selector of each way, together.
    pub(super) fn any(&self, metric: &str, of: impl Fn(&str) -> String) -> String {
        let each: Vec<String> = self.0.iter().map(|way| of(&format!("{metric}{{{way}}}"))).collect();
        each.join(" or ")
    }
}

/// A node by the name that a view gives it, which has that of its cluster before it where there are several.
fn of_node(name: &str) -> Vec<String> {
    let mut ways = by_labels(name);
    if let Some((cluster, node)) = name.split_once('/') {
        let cluster = quoted(cluster);
        let clusters =
            [format!("exported_cluster={cluster}"), format!("exported_cluster=\"\",cluster={cluster}")];
        let of = |way: &String| clusters.iter().map(|cluster| format!("{cluster},{way}")).collect::<Vec<_>>();
        ways.extend(by_labels(node).iter().flat_map(of));
    }
    ways
}

fn by_labels(node: &str) -> Vec<String> {
    let node = quoted(node);
    vec![
        format!("exported_node={node}"),
        format!("exported_node=\"\",node={node}"),
        // Where nobody named it, it is called by its address.
        format!("exported_node=\"\",node=\"\",instance={node}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_gets_out_of_its_quotes() {
        for (name, wanted) in [
            ("alice", r#""alice""#),
            (r#"a"} or vector(1)#"#, r#""a\"} or vector(1)#""#),
            (r#"a\"} or vector(1)#"#, r#""a\\\"} or vector(1)#""#),
            ("a\nb\r\u{1b}", r#""a\nb\u000d\u001b""#),
            ("\\", r#""\\""#),
            ("", r#""""#),
            ("김`'{}", "\"김`'{}\""),
        ] {
            assert_eq!(quoted(name), wanted);
            // Read as PromQL reads it, it is the name again: every quote and backslash inside is escaped.
            let inside = &wanted[1..wanted.len() - 1];
            assert!(!inside.replace("\\\\", "").replace("\\\"", "").contains('"'), "{inside}");
        }
    }

    #[test]
    fn each_way_that_a_label_can_be_spelled_is_asked_for_once() {
        let gpu = GpuLabel { gpu: 3, instance: None };
        let series = Series::of_device("n\"1", gpu, "cluster=\"a\"");
        assert_eq!(series.0.len(), 6);
        assert_eq!(
            series.0[3],
            r#"exported_node="",node="n\"1",exported_gpu="",gpu=~"3(_[0-9]+_[0-9]+)?",cluster="a""#
        );
        let of_cluster = Series::of_node("lab/n", "");
        assert_eq!(of_cluster.0.len(), 9);
        assert_eq!(of_cluster.0[6], r#"exported_cluster="",cluster="lab",exported_node="",node="n""#);
        let instance = Series::of_device("n", GpuLabel { gpu: 3, instance: Some((1, 0)) }, "");
        assert_eq!(instance.0[0], r#"exported_node="n",exported_gpu=~"3_1_0""#);
        assert_eq!(Series::of_user("", "").0, [r#"exported_user="",user="""#]);
        assert_eq!(
            Series::of_user("a", "").any("m", |selector| format!("rate({selector}[5m])")),
            r#"rate(m{exported_user="",user="a"}[5m]) or rate(m{exported_user="a"}[5m])"#
        );
    }
}
