//! An answer of `/api/v1/query` or `/api/v1/query_range`.

use gpu_session_core::text::clean_value;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Warnings of one answer that are told; a store with a thousand blocks may warn of each.
const MAX_WARNINGS: usize = 5;

/// What was asked for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Vector {
    pub(crate) series: Vec<Series>,
    /// Why something may be missing.
    pub(crate) warnings: Vec<String>,
}

/// A series at one time.
#[derive(Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) labels: BTreeMap<String, String>,
    /// `None` where it is no number, and over a time.
    pub(crate) value: Option<f64>,
    /// Over a time: each moment, Unix seconds, and the value then.
    pub(crate) values: Vec<(f64, Option<f64>)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    status: String,
    data: Option<Data>,
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
    /// Of VictoriaMetrics, where a part of its storage did not answer.
    #[serde(default)]
    is_partial: bool,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<WrittenSeries>,
}

#[derive(Deserialize)]
struct WrittenSeries {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// Reads an answer; fails with what is wrong with it.
pub(crate) fn read(body: &[u8]) -> Result<Vector, String> {
    let written: Written = serde_json::from_slice(body)
        .map_err(|e| format!("the answer is not that of the Prometheus API ({e})"))?;
    let data = match written.data {
        Some(data) if written.status == "success" => data,
        _ => return Err(said(written.error_type, written.error)),
    };
    let mut warnings = written.warnings.unwrap_or_default();
    let further = warnings.len().saturating_sub(MAX_WARNINGS);
    warnings.truncate(MAX_WARNINGS);
    for warning in &mut warnings {
        *warning = clean_value(warning);
    }
    warnings.extend((further > 0).then(|| format!("{further} further warnings")));
    warnings
        .extend(written.is_partial.then(|| "a part of its storage did not answer (isPartial)".to_owned()));
    let series = data.result.into_iter().map(|series| Series {
        labels: series.metric,
        value: series.value.and_then(|(_, text)| number(&text)),
        values: series.values.into_iter().map(|(at, text)| (at, number(&text))).collect(),
    });
    Ok(Vector { series: series.collect(), warnings })
}

/// What a refusal says, if its body says it in the API's way.
pub(crate) fn refusal(body: &[u8]) -> Option<String> {
    let written: Written = serde_json::from_slice(body).ok()?;
    Some(said(written.error_type, written.error))
}

fn said(kind: Option<String>, error: Option<String>) -> String {
    let words: Vec<String> = [kind, error].into_iter().flatten().collect();
    let words = if words.is_empty() { "no success, without a reason".to_owned() } else { words.join(": ") };
    clean_value(&words)
}

/// A counter does not go down.
fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_read_with_its_warnings() {
        let body = br#"{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[
            {"metric":{"user":"a"},"value":[1700000000.5,"12.5"]},
            {"metric":{},"value":[1700000000,"NaN"]},
            {"metric":{"user":"h"},"histogram":[1700000000,{}]},
            {"metric":{"user":"i"},"value":[1700000000,"+Inf"]}]},
            "warnings":["1\u001b[2J","2","3","4","5","6","7"],"infos":["not told"]}"#;
        let vector = read(body).unwrap();
        let values: Vec<Option<f64>> = vector.series.iter().map(|series| series.value).collect();
        assert_eq!(values, [Some(12.5), None, None, None]);
        assert_eq!(vector.series[0].labels["user"], "a");
        let wanted = [
            "1\u{fffd}[2J",
            "2",
            "3",
            "4",
            "5",
            "2 further warnings",
            "a part of its storage did not answer (isPartial)",
        ];
        assert_eq!(vector.warnings, wanted);
    }

    #[test]
    fn a_matrix_has_a_value_for_each_moment_that_has_one() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"user":"a"},"values":[[1700000000,"1"],[1700000060.5,"NaN"]]},{"metric":{}}]}}"#;
        let series = read(body).unwrap().series;
        assert_eq!(series[0].values, [(1_700_000_000.0, Some(1.0)), (1_700_000_060.5, None)]);
        assert!(series[1].values.is_empty() && series[0].value.is_none());
    }

    #[test]
    fn what_is_not_an_answer_is_an_error() {
        for (body, wanted) in [
            (&b"<html>"[..], "not that of the Prometheus API"),
            (br"[]", "not that of the Prometheus API"),
            (br#"{"status":"success"}"#, "without a reason"),
            (br#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#, "not that of"),
            (
                br#"{"status":"error","errorType":"execution","error":"too many samples"}"#,
                "execution: too many samples",
            ),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
        assert_eq!(refusal(b"bad gateway"), None);
        assert_eq!(refusal(br#"{"status":"error","error":"no\n"}"#), Some("no\u{fffd}".to_owned()));
    }
}
