use super::*;
use comfy_table::ContentArrangement;

fn line(key: &[&str], sm_hours: Option<f64>) -> Line {
    Line {
        key: key.iter().map(ToString::to_string).collect(),
        sessions: 3,
        session_hours: Some(10.0),
        sm_hours,
        mean_utilization: sm_hours.map(|hours| hours / 10.0),
        energy_kwh: Some(0.001),
        ..Line::default()
    }
}

fn report(by: By, lines: Vec<Line>) -> Report {
    let period = Period { since_us: 1_700_000_000_000_000, until_us: 1_700_086_400_000_000 };
    Report { period, by, source: Source::Ledger("/var/lib/gpu-session-monitor".into()), lines }
}

/// Names that want to be more than text.
const HOSTILE: [&str; 8] = [
    "=cmd|'/c calc'!A0",
    "\x1b]0;title\x07\u{9b}31m",
    "a,b\"c\"\r\nd",
    "\t=1+1",
    "\u{202e}gpj.exe",
    "사용자 한글",
    "@SUM(A1)",
    "\u{ff1d}1+1",
];

fn hostile() -> Report {
    report(By::Pod, HOSTILE.iter().map(|name| line(&["ml", name], Some(1.5))).collect())
}

#[test]
fn the_table_says_what_it_is_and_adds_up() {
    let text =
        report(By::User, vec![line(&["alice"], Some(2.5)), line(&[""], None), line(&["bob"], Some(0.25))])
            .table();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "GPU use by user, 2023-11-14T22:13:20Z to 2023-11-15T22:13:20Z (1day), from the ledger in \
             /var/lib/gpu-session-monitor.",
            "Hours are of whole GPUs: a MIG slice counts by its share.",
            "",
            " USER       SESSIONS  SESSION h  SM h  MEAN %  MEM GiB h  ENERGY kWh  ALLOCATED h  IDLE h",
            " alice             3      10.00  2.50    25.0          -       <0.01            -       -",
            " (unknown)         3      10.00     -       -          -       <0.01            -       -",
            " bob               3      10.00  0.25     2.5          -       <0.01            -       -",
            " TOTAL             9      30.00  2.75       -          -       <0.01            -       -",
        ]
    );
    assert!(report(By::User, Vec::new()).table().ends_with("\n\nNo use in this period.\n"));
}

#[test]
fn a_name_breaks_no_line_of_the_table_and_reaches_no_terminal() {
    let text = hostile().table();
    assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
    assert_eq!(text.lines().count(), 3 + 1 + HOSTILE.len() + 1);
    assert!(text.contains("사용자 한글") && text.contains("=cmd|'/c calc'!A0"), "{text}");
}

#[test]
fn the_table_fits_a_terminal() {
    let mut grid = hostile().grid();
    grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(80);
    let widest = grid.to_string().lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?}");
}

#[test]
fn csv_is_read_back_as_it_was_with_formulas_disarmed() {
    let text = hostile().csv().unwrap();
    let header = "namespace,pod,sessions,session_hours,sm_hours,mean_utilization,memory_gib_hours,energy_kwh,\
                  allocated_hours,idle_allocated_hours\r\n";
    assert!(text.starts_with(header), "{text}");
    assert!(!text.contains('\x1b') && !text.contains('\u{9b}'));
    assert_eq!(text.matches('\n').count(), 1 + HOSTILE.len(), "a line each: {text}");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let names: Vec<&str> = rows.iter().map(|row| &row[1]).collect();
    let wanted = [
        "'=cmd|'/c calc'!A0",
        "\u{fffd}]0;title\u{fffd}\u{fffd}31m",
        "a,b\"c\"\u{fffd}\u{fffd}d",
        "\u{fffd}=1+1",
        "\u{fffd}gpj.exe",
        "사용자 한글",
        "'@SUM(A1)",
        "'\u{ff1d}1+1",
    ];
    assert_eq!(names, wanted);
    assert_eq!(rows[0].iter().skip(2).collect::<Vec<_>>(), ["3", "10", "1.5", "0.15", "", "0.001", "", ""]);
}

#[test]
fn csv_loses_no_digit_and_writes_unknown_as_nothing() {
    let mut exact = line(&[""], Some(0.1 + 0.2));
    exact.energy_kwh = Some(1e-9);
    let text = report(By::Device, vec![exact]).csv().unwrap();
    let row = text.lines().nth(1).unwrap();
    assert_eq!(row, ",3,10,0.30000000000000004,0.030000000000000006,,0.000000001,,");
}

#[test]
fn json_has_names_whole_and_unknown_as_null() {
    let text = hostile().json().unwrap();
    assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> =
        document["lines"].as_array().unwrap().iter().map(|l| l["pod"].as_str().unwrap()).collect();
    assert_eq!(names, HOSTILE);
    let nobody = report(By::User, vec![line(&[""], None)]).json().unwrap();
    let wanted = serde_json::json!({
        "schema_version": 1,
        "since": "2023-11-14T22:13:20Z", "since_timestamp": 1_700_000_000.0,
        "until": "2023-11-15T22:13:20Z", "until_timestamp": 1_700_086_400.0,
        "by": "user", "source": "ledger",
        "lines": [{
            "user": null, "sessions": 3, "session_hours": 10.0, "sm_hours": null, "mean_utilization": null,
            "memory_gib_hours": null, "energy_kwh": 0.001, "allocated_hours": null, "idle_allocated_hours": null,
        }],
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&nobody).unwrap(), wanted);
}

#[test]
fn the_most_used_is_first() {
    let mut lines =
        [line(&["b"], Some(1.0)), line(&["n"], None), line(&["a"], Some(1.0)), line(&["z"], Some(9.0))];
    super::super::sort(&mut lines);
    assert_eq!(lines.map(|line| line.key[0].clone()), ["z", "a", "b", "n"]);
}
