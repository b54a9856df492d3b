//! The DCGM exporter's text.

use crate::Target;
use crate::servers::Http;
use gpu_session_core::ids::GpuLabel;
use gpu_session_core::sample::{Activity, Device, DeviceFacts, Driver, Request, Sample};
use gpu_session_core::select::Selection;
use gpu_session_sources::dcgm::Dcgm;
use gpu_session_sources::{Source, exposition};
use std::sync::{Arc, LazyLock, Mutex};

pub(super) const TARGET: Target = Target {
    name: "dcgm",
    cases: 600,
    words: &[
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
        "DCGM_FI_DEV_GPU_UTIL",
        "DCGM_FI_DEV_FB_USED",
        "{",
        "}",
        "=",
        "\"",
        "\\",
        "\\n",
        ",",
        " ",
        "\n",
        "\t",
        "UUID=\"GPU-a\"",
        "uuid=\"GPU-a\"",
        "GPU_I_ID=\"1\"",
        "GPU_I_PROFILE=\"1g.10gb\"",
        "NaN",
        "+Inf",
        "-Inf",
        "1e308",
        "# HELP ",
        "1800000000000",
        "-0",
        "2147483632",
    ],
    seeds,
    run,
};

const NOW_US: i64 = 1_800_000_000_000_000;
const TOTAL_BYTES: u64 = 80 << 30;

fn seeds() -> Vec<Vec<u8>> {
    let plain = "# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).\n# TYPE DCGM_FI_DEV_GPU_UTIL gauge\n\
        DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"GPU-a\",pci_bus_id=\"00000000:17:00.0\",device=\"nvidia0\",modelName=\"NVIDIA H100\"} 37\n\
        DCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"GPU-a\",device=\"nvidia0\"} 1024\n\
        DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu=\"0\",UUID=\"GPU-a\"} 0.370000\n";
    let mig = "DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu=\"1\",UUID=\"GPU-b\",GPU_I_PROFILE=\"3g.40gb\",GPU_I_ID=\"1\",pod=\"p\"} 0.5\n\
        DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu=\"1\",UUID=\"GPU-b\",GPU_I_PROFILE=\"3g.40gb\",GPU_I_ID=\"1\",pod=\"q\"} 0.5\n\
        DCGM_FI_DEV_FB_USED{gpu=\"1\",UUID=\"GPU-b\",GPU_I_PROFILE=\"3g.40gb\",GPU_I_ID=\"1\"} 2048 1800000000000\n";
    let escapes = "a:b_9{x=\"\\\\ \\\" \\n é\"} +Inf 1700000000000\n a\t{ x = \"1\" , y=\"2\", }  -3e2\t-5 \n\n#\na{} 1\n";
    [plain, mig, escapes].map(|text| text.as_bytes().to_vec()).into()
}

static EXPORTER: LazyLock<Mutex<(Http, Dcgm)>> = LazyLock::new(|| {
    let server = Http::start();
    let url = format!("{}/metrics", server.url).parse().unwrap();
    Mutex::new((server, Dcgm::new(url, Selection::All)))
});

fn run(bytes: &[u8]) {
    let readable = strictly(bytes);
    let mut exporter = EXPORTER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    exporter.0.says(vec![(200, "text/plain", bytes.to_vec())]);
    let before = sample();
    let mut sample = before.clone();
    let errors = exporter.1.read(&Request::default(), &mut sample);
    // A machine that is busy may be late.
    let expected = |kind: &str| matches!(kind, "malformed" | "timeout");
    assert!(
        errors.iter().all(|error| expected(&error.kind) && error.message.contains("/metrics: ")),
        "{errors:?}"
    );
    if !errors.is_empty() {
        assert_eq!(sample, before, "one line that is wrong makes all of it unusable");
        return;
    }
    assert!(readable);
    for device in &sample.driver.unwrap().devices {
        assert!(device.utilization.is_none_or(|used| (0.0..=1.0).contains(&used.ratio)), "{device:?}");
        assert!(device.utilization.is_none_or(|used| used.measured_us.is_none()), "{device:?}");
        assert!(device.memory_used_bytes.is_none_or(|bytes| bytes <= TOTAL_BYTES), "{device:?}");
    }
}

/// Whether all of it is in the format; each series says its labels the same way however it is asked.
fn strictly(bytes: &[u8]) -> bool {
    let Ok(series) = exposition::series(bytes) else { return false };
    let mut good = true;
    for series in series {
        let Ok(series) = series else {
            good = false;
            continue;
        };
        assert!(!series.name.is_empty() && !series.name.contains(['{', ' ', '"']), "{series:?}");
        for name in ["UUID", "GPU_I_ID", "gpu", "x"] {
            assert_eq!(series.label(name), series.label(&name.to_ascii_lowercase()), "{series:?}");
        }
    }
    good
}

/// A GPU and a MIG instance of which nothing is known.
fn sample() -> Sample {
    let device = |label, uuid: &str, parent: Option<&str>| Device {
        facts: Arc::new(DeviceFacts {
            label,
            uuid: uuid.into(),
            parent_uuid: parent.map(Into::into),
            model: None,
            mig_profile: parent.map(|_| "3g.40gb".into()),
            pci_bus_id: None,
            minor_number: None,
            memory_total_bytes: Some(TOTAL_BYTES),
            compute_fraction: None,
        }),
        memory_used_bytes: None,
        utilization: None,
        energy_millijoules: None,
        processes: None,
        mps: false,
        activity: Activity::Unsupported,
        accounting: None,
    };
    let devices = vec![
        device(GpuLabel { gpu: 0, instance: None }, "GPU-a", None),
        device(GpuLabel { gpu: 1, instance: Some((1, 0)) }, "MIG-b", Some("GPU-b")),
    ];
    Sample { time_us: NOW_US, driver: Some(Driver { devices, ..Driver::default() }), ..Sample::default() }
}
