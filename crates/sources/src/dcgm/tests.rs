//! Unit tests of the DCGM source.

use super::*;

const NOW_MS: i64 = 1_700_000_000_000;

fn device(instance: Option<(u32, u32)>, profile: &str) -> Device {
    let (uuid, parent) = match instance {
        Some((gi, ci)) => (format!("MIG-{gi}-{ci}"), Some("GPU-A")),
        None => ("GPU-A".to_owned(), None),
    };
    let facts = serde_json::json!({
        "label": { "gpu": 0, "instance": instance },
        "uuid": uuid,
        "parent_uuid": parent,
        "mig_profile": parent.map(|_| profile),
        "memory_total_bytes": 40_u64 << 30,
    });
    serde_json::from_value(serde_json::json!({ "facts": facts, "activity": "unsupported" })).unwrap()
}

fn dcgm(url: &str, selection: Selection) -> Dcgm {
    Dcgm::new(url.parse().unwrap(), selection)
}

fn gap(devices: Vec<Device>, selection: &[&str]) -> Option<Key> {
    let selectors = selection.iter().map(|item| item.parse().unwrap()).collect();
    let driver = Driver { devices, ..Driver::default() };
    dcgm("http://127.0.0.1:9400/metrics", Selection::new(selectors, None)).gap(&driver.devices[0], &driver)
}

/// The device after an answer of these lines, for `{…}` its labels.
fn filled(mut device: Device, lines: &[&str]) -> Device {
    let key: Key = ("gpu-a".to_owned(), device.facts.label.instance.map(|(gi, _)| gi));
    let labels = match key.1 {
        Some(gi) => format!("gpu=\"0\",UUID=\"GPU-a\",GPU_I_PROFILE=\"3g.20gb\",GPU_I_ID=\"{gi}\""),
        None => "gpu=\"0\",UUID=\"GPU-a\"".to_owned(),
    };
    let body: String =
        lines.iter().map(|line| line.replace('…', &labels) + "\n").chain(["DCGM_X 1\n".into()]).collect();
    let mut wanted = BTreeMap::from([(key.clone(), Figures::default())]);
    take(body.as_bytes(), NOW_MS, &mut wanted).unwrap_or_else(|e| panic!("{body}: {e}"));
    fill(&mut device, &wanted[&key]);
    device
}

fn ratio(device: Device, lines: &[&str]) -> Option<f64> {
    filled(device, lines).utilization.map(|utilization| utilization.ratio)
}

#[test]
fn an_instance_gets_the_figure_of_its_gpu_instance_and_may_hand_it_on() {
    let lines = [
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE{…} 0.375000",
        "DCGM_FI_DEV_FB_USED{…} 1024",
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID=\"GPU-a\"} 0.9",
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID=\"GPU-a\",GPU_I_ID=\"3\"} 0.8",
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID=\"GPU-b\",GPU_I_ID=\"2\"} 0.7",
    ];
    let device = filled(device(Some((2, 0)), "3g.20gb"), &lines);
    let wanted = DeviceUtilization { ratio: 0.375, measured_us: None, attributable: true };
    assert_eq!((device.utilization, device.memory_used_bytes), (Some(wanted), Some(1 << 30)));
}

#[test]
fn a_whole_gpu_prefers_the_engine_and_hands_nothing_on() {
    let (engine, percent) = ("DCGM_FI_PROF_GR_ENGINE_ACTIVE{…} 0.25", "DCGM_FI_DEV_GPU_UTIL{…} 60");
    let both = filled(device(None, ""), &[percent, engine]);
    let wanted = DeviceUtilization { ratio: 0.25, measured_us: None, attributable: false };
    assert_eq!(both.utilization, Some(wanted));
    assert_eq!(ratio(device(None, ""), &[percent]), Some(0.6));
    assert_eq!(ratio(device(Some((2, 0)), "3g.20gb"), &[percent]), None, "of a whole GPU only");
    let instances = ["DCGM_FI_DEV_GPU_UTIL{UUID=\"GPU-a\",GPU_I_PROFILE=\"3g.20gb\"} 60"];
    assert_eq!(ratio(device(None, ""), &instances), None, "an instance's is not the GPU's");
}

#[test]
fn nvmls_own_figures_stay() {
    let mut measured = device(None, "");
    let own = DeviceUtilization { ratio: 0.5, measured_us: None, attributable: false };
    (measured.utilization, measured.memory_used_bytes) = (Some(own), Some(7));
    let after = filled(measured.clone(), &["DCGM_FI_DEV_GPU_UTIL{…} 60", "DCGM_FI_DEV_FB_USED{…} 1"]);
    assert_eq!(after, measured);
}

#[test]
fn what_cannot_be_or_contradicts_itself_is_absent() {
    for value in ["NaN", "+Inf", "-Inf", "-0.1", "1.1", "2147483632", "9223372036854775792"] {
        let line = format!("DCGM_FI_PROF_GR_ENGINE_ACTIVE{{…}} {value}");
        assert_eq!(ratio(device(None, ""), &[&line]), None, "{value}");
        let twice = [line.as_str(), "DCGM_FI_PROF_GR_ENGINE_ACTIVE{…} 0.5"];
        assert_eq!(ratio(device(None, ""), &twice), None, "{value} beside another");
    }
    for value in ["101", "-1", "NaN", "2147483632"] {
        let line = format!("DCGM_FI_DEV_GPU_UTIL{{…}} {value}");
        assert_eq!(ratio(device(None, ""), &[&line]), None, "{value}");
    }
    for value in ["40961", "-1", "NaN", "2147483632", "140737488355328"] {
        let line = format!("DCGM_FI_DEV_FB_USED{{…}} {value}");
        assert_eq!(filled(device(None, ""), &[&line]).memory_used_bytes, None, "{value}");
    }
    let pods = |second: &str| {
        let lines = [
            "DCGM_FI_DEV_GPU_UTIL{…,pod=\"a\"} 60".to_owned(),
            format!("DCGM_FI_DEV_GPU_UTIL{{…,pod=\"b\"}} {second}"),
        ];
        ratio(device(None, ""), &lines.each_ref().map(String::as_str))
    };
    assert_eq!((pods("60"), pods("61")), (Some(0.6), None));
    let two_names = ["DCGM_FI_DEV_GPU_UTIL{UUID=\"GPU-a\",uuid=\"GPU-b\"} 60"];
    assert_eq!(ratio(device(None, ""), &two_names), None);
}

#[test]
fn a_figure_of_another_time_is_none() {
    for (stamp, wanted) in [
        (NOW_MS - 300_000, Some(0.6)),
        (NOW_MS - 300_001, None),
        (NOW_MS + 300_001, None),
        (i64::MIN, None),
        (i64::MAX, None),
    ] {
        let line = format!("DCGM_FI_DEV_GPU_UTIL{{…}} 60 {stamp}");
        assert_eq!(ratio(device(None, ""), &[&line]), wanted, "{stamp}");
        let old_and_new = [line.as_str(), "DCGM_FI_DEV_GPU_UTIL{…} 60"];
        assert_eq!(ratio(device(None, ""), &old_and_new), Some(0.6), "{stamp}");
    }
}

#[test]
fn a_gpu_instance_that_is_or_may_be_shared_is_not_asked_for() {
    let key = |gi| Some(("gpu-a".to_owned(), Some(gi)));
    let (whole, part) = (device(Some((2, 0)), "3g.20gb"), device(Some((2, 0)), "1c.3g.20gb"));
    let (sibling, other) = (device(Some((2, 1)), "2c.3g.20gb"), device(Some((1, 0)), "3g.20gb"));
    assert_eq!(gap(vec![whole.clone(), other.clone()], &[]), key(2));
    assert_eq!(gap(vec![part.clone(), other.clone()], &[]), key(2), "the sample has all there are");
    assert_eq!(gap(vec![part.clone(), sibling], &[]), None);
    // What is not selected is not in the sample.
    assert_eq!(gap(vec![part.clone()], &["0"]), key(2));
    assert_eq!(gap(vec![part.clone()], &["0_2_0"]), None);
    assert_eq!(gap(vec![part], &["MIG-2-0"]), None);
    assert_eq!(gap(vec![whole], &["0_2_0"]), key(2));
    assert_eq!(gap(vec![device(None, "")], &[]), Some(("gpu-a".to_owned(), None)));
    let mut measured = other;
    measured.utilization = Some(DeviceUtilization { ratio: 0.0, measured_us: None, attributable: true });
    measured.memory_used_bytes = Some(0);
    assert_eq!(gap(vec![measured], &[]), None);
}

#[test]
fn another_exporter_is_said_to_be_none() {
    let mut wanted = BTreeMap::new();
    for body in ["", "# nothing\n", "node_cpu_seconds_total{cpu=\"0\"} 1\n"] {
        assert!(take(body.as_bytes(), NOW_MS, &mut wanted).unwrap_err().contains("DCGM_"), "{body}");
    }
    assert!(take(b"<html>\n", NOW_MS, &mut wanted).unwrap_err().contains("line 1"));
}

#[test]
fn urls_are_plain_http_and_hold_no_secrets() {
    for good in ["http://127.0.0.1:9400/metrics", "http://[::1]:9400/metrics", "http://node/", "HTTP://x:1/"]
    {
        assert!(good.parse::<ExporterUrl>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "127.0.0.1:9400/metrics",
        "/metrics",
        "https://127.0.0.1:9400/metrics",
        "file:///etc/passwd",
        "http://",
        "http:///metrics",
        "http://x:99999/metrics",
        "http://x:/metrics",
        "http://x:0/metrics",
        "http://x y/",
        "http://x/\n",
    ] {
        let error = bad.parse::<ExporterUrl>().expect_err(bad);
        assert!(error.to_string().contains("http://127.0.0.1:9400/metrics"), "{error}");
    }
    let secret = "http://admin:hunter2@127.0.0.1:9400/metrics".parse::<ExporterUrl>().unwrap_err();
    assert!(secret == BadUrl::Credentials && !secret.to_string().contains("hunter2"));
    let url: ExporterUrl = "http://x:1/m?token=hunter2".parse().unwrap();
    assert_eq!(url.to_string(), "http://x:1/m");
}

#[test]
fn nobody_is_asked_without_a_driver_or_when_nothing_is_missing() {
    // Nothing listens on port 1: asked, it would be an error.
    let mut source = dcgm("http://127.0.0.1:1/metrics", Selection::All);
    let mut sample = Sample::default();
    assert!(source.read(&Request::default(), &mut sample).is_empty());
    sample.driver = Some(Driver { devices: vec![device(None, "")], ..Driver::default() });
    let errors = source.read(&Request::default(), &mut sample);
    assert_eq!(&*errors[0].kind, "io");
    assert!(errors[0].message.contains("http://127.0.0.1:1/metrics"), "{}", errors[0].message);
    let mut measured = device(None, "");
    measured.utilization = Some(DeviceUtilization { ratio: 0.0, measured_us: None, attributable: false });
    measured.memory_used_bytes = Some(0);
    sample.driver = Some(Driver { devices: vec![measured], ..Driver::default() });
    assert!(source.read(&Request::default(), &mut sample).is_empty());
}
