//! The DCGM exporter: figures that NVML has none of, from a server on loopback.

use crate::node::{Metrics, Node, Run, plain};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// An A100 in MIG mode, which has no GPM, and a GPU of which NVML says all.
const A100: &str = "version: 1
gpus:
  - model: NVIDIA A100-SXM4-40GB
    uuid: GPU-aaaaaaaa-0000-4000-8000-000000000000
    memory: 40GiB
    mig:
      - { profile: 2g.10gb, gpu_instance: 3, compute_instance: 0 }
      - { profile: 2g.10gb, gpu_instance: 5, compute_instance: 0 }
      - { profile: 1c.3g.20gb, gpu_instance: 2, compute_instance: 0 }
      - { profile: 1c.3g.20gb, gpu_instance: 2, compute_instance: 1 }
  - { model: NVIDIA L40S, memory: 48GiB, uuid: GPU-bbbbbbbb-0000-4000-8000-000000000000 }
processes:
  - { pid: 10, name: alone, uid: 1000, devices: [{ gpu: 0, instance: 3/0, memory: 2GiB, sm: 60 }] }
  - { pid: 20, name: shared, uid: 1000, count: 2, devices: [{ gpu: 0, instance: 5/0, memory: 2GiB, sm: 20 }] }
  - { pid: 30, name: part, uid: 1000, devices: [{ gpu: 0, instance: 2/0, memory: 2GiB, sm: 20 }] }
  - { pid: 40, name: whole, uid: 1000, devices: [{ gpu: 1, memory: 2GiB, sm: 50 }] }
passwd: [{ name: alice, uid: 1000 }]
";

/// What dcgm-exporter writes for it, and for a GPU of another node.
const METRICS: &str = r#"# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-aaaaaaaa-0000-4000-8000-000000000000",pci_bus_id="00000000:10:00.0",device="nvidia0",modelName="NVIDIA A100-SXM4-40GB",GPU_I_PROFILE="2g.10gb",GPU_I_ID="3",Hostname="gpu-7",DCGM_FI_DRIVER_VERSION="550.54.15"} 1410
DCGM_FI_DEV_SM_CLOCK{gpu="1",UUID="GPU-bbbbbbbb-0000-4000-8000-000000000000",pci_bus_id="00000000:11:00.0",device="nvidia1",modelName="NVIDIA L40S",Hostname="gpu-7",DCGM_FI_DRIVER_VERSION="550.54.15"} 2520
# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-bbbbbbbb-0000-4000-8000-000000000000",pci_bus_id="00000000:11:00.0",device="nvidia1",modelName="NVIDIA L40S",Hostname="gpu-7",DCGM_FI_DRIVER_VERSION="550.54.15",container="main",namespace="ml",pod="train-0"} 7
# HELP DCGM_FI_DEV_FB_USED Framebuffer memory used (in MiB).
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-aaaaaaaa-0000-4000-8000-000000000000",pci_bus_id="00000000:10:00.0",device="nvidia0",modelName="NVIDIA A100-SXM4-40GB",GPU_I_PROFILE="2g.10gb",GPU_I_ID="3",Hostname="gpu-7",DCGM_FI_DRIVER_VERSION="550.54.15"} 77
DCGM_FI_DEV_FB_USED{gpu="1",UUID="GPU-bbbbbbbb-0000-4000-8000-000000000000",pci_bus_id="00000000:11:00.0",device="nvidia1",modelName="NVIDIA L40S",Hostname="gpu-7",DCGM_FI_DRIVER_VERSION="550.54.15"} 3072
# HELP DCGM_FI_PROF_GR_ENGINE_ACTIVE Ratio of time the graphics engine is active.
# TYPE DCGM_FI_PROF_GR_ENGINE_ACTIVE gauge
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0",UUID="GPU-cccccccc-0000-4000-8000-000000000000",pci_bus_id="00000000:10:00.0",device="nvidia0",modelName="NVIDIA A100-SXM4-40GB",GPU_I_PROFILE="2g.10gb",GPU_I_ID="3",Hostname="gpu-8",DCGM_FI_DRIVER_VERSION="550.54.15"} 0.990000
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0",UUID="GPU-aaaaaaaa-0000-4000-8000-000000000000",pci_bus_id="00000000:10:00.0",device="nvidia0",modelName="NVIDIA A100-SXM4-40GB",Hostname="gpu-7",DCGM_FI_DRIVER_VERSION="550.54.15"} 0.880000
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0",UUID="GPU-aaaaaaaa-0000-4000-8000-000000000000",pci_bus_id="00000000:10:00.0",device="nvidia0",modelName="NVIDIA A100-SXM4-40GB",GPU_I_PROFILE="2g.10gb",GPU_I_ID="3",Hostname="gpu-7",DCGM_FI_DRIVER_VERSION="550.54.15",container="main",namespace="ml",pod="a \"quoted\" {name}"} 0.612500
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0",UUID="GPU-aaaaaaaa-0000-4000-8000-000000000000",pci_bus_id="00000000:10:00.0",device="nvidia0",modelName="NVIDIA A100-SXM4-40GB",GPU_I_PROFILE="2g.10gb",GPU_I_ID="5",Hostname="gpu-7",DCGM_FI_DRIVER_VERSION="550.54.15"} 0.400000
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0",UUID="GPU-aaaaaaaa-0000-4000-8000-000000000000",pci_bus_id="00000000:10:00.0",device="nvidia0",modelName="NVIDIA A100-SXM4-40GB",GPU_I_PROFILE="3g.20gb",GPU_I_ID="2",Hostname="gpu-7",DCGM_FI_DRIVER_VERSION="550.54.15"} 0.300000
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="1",UUID="GPU-bbbbbbbb-0000-4000-8000-000000000000",pci_bus_id="00000000:11:00.0",device="nvidia1",modelName="NVIDIA L40S",Hostname="gpu-7",DCGM_FI_DRIVER_VERSION="550.54.15"} 0.060000
"#;

/// A server that deals with every connection alike, once it has read the request.
struct Exporter {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Exporter {
    fn start(answer: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    request.push(byte[0]);
                }
                // A client that has heard enough is no failure.
                let _ = answer(&mut stream);
            }
        });
        Self { url, asked }
    }

    fn saying(status: &str, body: &str) -> Self {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        Self::start(move |stream| stream.write_all(answer.as_bytes()))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn collect(node: &Node, url: &str) -> Run {
    node.run(&["collect", "--dcgm-url", url])
}

/// A node that was measured before: every further run takes one sample.
fn known(scenario: &str) -> Node {
    let mut node = Node::new(scenario);
    node.at(60.0);
    node.collected();
    node.at(120.0);
    node
}

const UP: (&str, [(&str, &str); 1]) = ("gpu_session_collector_source_up", [("source", "dcgm")]);

#[test]
fn an_instances_figure_is_its_only_process_and_of_several_nobodys() {
    let exporter = Exporter::saying("200 OK", METRICS);
    let mut node = Node::new(A100);
    node.at(60.0);
    for time in [60.0, 120.0] {
        node.at(time);
        let run = collect(&node, &exporter.url);
        assert_eq!((run.code, run.complaints().as_str()), (0, ""));
        let metrics = node.metrics();
        assert_eq!(metrics.get(UP.0, &UP.1), Some(1.0));
        let device = |gpu| metrics.get("gpu_device_utilization_ratio", &[("gpu", gpu)]);
        let process = |pid| metrics.get("gpu_process_utilization", &[("pid", pid)]);
        assert_eq!((device("0_3_0"), process("gpu0_3_0_10")), (Some(0.6125), Some(61.25)));
        assert_eq!(
            (device("0_5_0"), process("gpu0_5_0_20"), process("gpu0_5_0_21")),
            (Some(0.4), None, None)
        );
        // The figure is of a GPU instance that two compute instances share.
        assert_eq!((device("0_2_0"), device("0_2_1"), process("gpu0_2_0_30")), (None, None, None));
        // What NVML says stays.
        assert_eq!((device("1"), process("gpu1_40")), (Some(0.5), Some(50.0)));
        let used = |gpu| metrics.get("gpu_device_memory_used_bytes", &[("gpu", gpu)]);
        assert_eq!((used("0_3_0"), used("1")), (Some((2_u64 << 30) as f64), Some((2_u64 << 30) as f64)));
        // A share of nobody knows what time is no seconds.
        assert!(metrics.sum("gpu_session_sm_seconds_total", &[("gpu", "0_3_0")]).abs() < 1e-9);
    }
    let unobserved = [("gpu", "0_3_0")];
    let unobserved = node.metrics().get("gpu_session_collector_unobserved_seconds_total", &unobserved);
    assert!(unobserved.is_some_and(|seconds| seconds >= 60.0), "{unobserved:?}");
}

#[test]
fn a_gpu_of_which_nvml_says_nothing_gets_what_the_exporter_says() {
    let silent = "faults:
  - { gpu: 1, function: \"nvmlDeviceGetMemoryInfo*\", return: NOT_SUPPORTED }
  - { gpu: 1, function: nvmlDeviceGetUtilizationRates, return: NOT_SUPPORTED }
";
    let node = known(&format!("{A100}{silent}"));
    let (utilization, memory) = ("gpu_device_utilization_ratio", "gpu_device_memory_used_bytes");
    assert_eq!((node.metrics().get(utilization, &[("gpu", "1")])), None);
    let exporter = Exporter::saying("200 OK", METRICS);
    assert_eq!(collect(&node, &exporter.url).code, 0);
    assert_eq!(node.metrics().get(utilization, &[("gpu", "1")]), Some(0.06));
    assert_eq!(node.metrics().get(memory, &[("gpu", "1")]), Some((3_u64 << 30) as f64));
    let older = METRICS.replace("DCGM_FI_PROF_GR_ENGINE_ACTIVE{", "DCGM_FI_PROF_OTHER{");
    assert_eq!(collect(&node, &Exporter::saying("200 OK", &older).url).code, 0);
    assert_eq!(node.metrics().get(utilization, &[("gpu", "1")]), Some(0.07));
}

#[test]
fn a_recording_holds_what_the_exporter_said() {
    let mut node = Node::new(A100);
    node.at(60.0);
    let exporter = Exporter::saying("200 OK", METRICS);
    crate::captures::assert_kept(&node, "a100-550-dcgm", &["--dcgm-url", &exporter.url]);
}

#[test]
fn it_is_not_asked_when_nothing_is_missing() {
    let exporter = Exporter::saying("200 OK", METRICS);
    let process = "  - { pid: 10, name: a, uid: 1000, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }\n";
    let hopper = A100.replace("    mig:", "    gpm: true\n    mig:");
    let hopper: String =
        hopper.lines().filter(|line| !line.contains("1c.3g")).fold(String::new(), |all, line| {
            if line.contains("instance: 2/0") { all } else { all + line + "\n" }
        });
    for scenario in [plain(2, process), hopper] {
        let node = known(&scenario);
        let run = collect(&node, &exporter.url);
        assert_eq!((run.code, run.complaints().as_str()), (0, ""));
        assert_eq!(node.metrics().get(UP.0, &UP.1), Some(1.0));
        let devices = node.metrics().values("gpu_device_info", &[]).len();
        assert_eq!(node.metrics().values("gpu_device_utilization_ratio", &[]).len(), devices);
    }
    // What the exporter could say of this device alone would not be used.
    let node = known(A100);
    assert_eq!(node.run(&["collect", "--dcgm-url", &exporter.url, "--device", "1,0_2_0,0_2_1"]).code, 0);
    assert_eq!(exporter.asked(), 0);
    assert_eq!(collect(&node, &exporter.url).code, 0);
    assert_eq!(exporter.asked(), 1, "once for all devices");
}

#[test]
fn an_exporter_on_a_bad_day_is_said_and_takes_nothing_else_with_it() {
    let mut node = known(A100);
    let large = Exporter::start(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20971520\r\n\r\n")?;
        stream.write_all(&vec![b'\n'; 20 << 20])
    });
    let endless = Exporter::start(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        loop {
            stream.write_all(&[b'\n'; 1 << 14])?;
        }
    });
    // Says nothing until the other side goes.
    let silent = Exporter::start(|stream| stream.read_to_end(&mut Vec::new()).map(|_| ()));
    // Says a byte now and then, until the other side goes.
    let slow = Exporter::start(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        stream.set_read_timeout(Some(Duration::from_millis(50)))?;
        while stream.read(&mut [0]).is_err() {
            stream.write_all(b"\n")?;
        }
        Ok(())
    });
    let cut = Exporter::start(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nDCGM_FI_DEV_GPU_UTIL 1\n")
    });
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/metrics\r\nContent-Length: 0\r\n\r\n";
    let moved = Exporter::start(move |stream| stream.write_all(moved.as_bytes()));
    let no_http = Exporter::start(|stream| stream.write_all(b"\x00\xff\x00\x13SSH-2.0\r\n\r\n\r\n"));
    let unescaped = METRICS.replace("\\\"quoted\\\"", "\"quoted\"");
    let before = node.metrics();
    for (url, kind, wanted) in [
        // No server is given this port by the kernel.
        ("http://127.0.0.1:1/metrics".to_owned(), "io", "see that the exporter runs there"),
        (cut.url, "io", "see that the exporter runs there"),
        (silent.url, "timeout", "within 2 s"),
        (slow.url, "timeout", "within 2 s"),
        (large.url, "too_large", "larger than 16 MiB"),
        (endless.url, "too_large", "larger than 16 MiB"),
        (moved.url, "http_status", "302 Found; redirects are not followed"),
        (Exporter::saying("404 Not Found", "").url, "http_status", "404 Not Found"),
        (Exporter::saying("204 No Content", "").url, "http_status", "204 No Content"),
        (no_http.url, "malformed", "not HTTP"),
        (Exporter::saying("200 OK", "<!doctype html>\n<p>DCGM Exporter\n").url, "malformed", "line 1"),
        (Exporter::saying("200 OK", "node_load1 0.5\n").url, "malformed", "begins with DCGM_"),
        (Exporter::saying("200 OK", "").url, "malformed", "begins with DCGM_"),
        (Exporter::saying("200 OK", &unescaped).url, "malformed", "line 16"),
        (Exporter::saying("200 OK", &METRICS[..METRICS.len() - 5]).url, "malformed", "cut off"),
    ] {
        node.at(node.now() + 30.0);
        let run = collect(&node, &url);
        assert_eq!(run.code, 3, "{wanted}: {}", run.stderr);
        let said = format!("dcgm: {url}: ");
        assert!(run.stderr.contains(&said) && run.stderr.contains(wanted), "{wanted}: {}", run.stderr);
        let metrics = node.metrics();
        assert_eq!(metrics.get(UP.0, &UP.1), Some(0.0), "{wanted}");
        let errors = [("source", "dcgm"), ("kind", kind)];
        let errors = metrics.get("gpu_session_collector_source_errors_total", &errors);
        assert!(errors.is_some_and(|n| n >= 1.0), "{wanted}: {kind}");
        assert_rest_is_there(&before, &metrics);
        assert_eq!(metrics.get("gpu_device_utilization_ratio", &[("gpu", "0_3_0")]), None, "{wanted}");
    }
}

fn assert_rest_is_there(before: &Metrics, after: &Metrics) {
    for name in ["gpu_session_count", "gpu_total_sessions", "gpu_device_memory_used_bytes", "gpu_device_info"]
    {
        assert_eq!(before.values(name, &[]), after.values(name, &[]), "{name}");
    }
    assert_eq!(after.get("gpu_process_utilization", &[("pid", "gpu1_40")]), Some(50.0));
    for source in ["nvml", "proc", "users"] {
        assert_eq!(after.get("gpu_session_collector_source_up", &[("source", source)]), Some(1.0));
    }
}

#[test]
fn it_is_off_unless_a_url_is_given_by_flag_environment_or_file() {
    let node = known(A100);
    assert_eq!(node.metrics().get(UP.0, &UP.1), None);
    let exporter = Exporter::saying("200 OK", METRICS);
    let mut command = node.command(&["collect"]);
    command.env("GPU_SESSION_MONITOR_DCGM_URL", &exporter.url);
    assert_eq!(Run::of(command.output().unwrap()).code, 0);
    assert_eq!(node.metrics().get(UP.0, &UP.1), Some(1.0));
    let file = node.path("config.yaml");
    std::fs::write(&file, format!("dcgm:\n  url: {}\n", exporter.url)).unwrap();
    assert_eq!(node.run(&["collect", "--config", file.to_str().unwrap()]).code, 0);
    assert_eq!(exporter.asked(), 2);
    // A proxy of the environment is for elsewhere.
    let mut command = node.command(&["collect", "--dcgm-url", &exporter.url]);
    command.env("http_proxy", "http://127.0.0.1:9").env("ALL_PROXY", "http://127.0.0.1:9");
    assert_eq!(Run::of(command.output().unwrap()).code, 0);
    assert_eq!(exporter.asked(), 3);
}

#[test]
fn a_url_that_cannot_be_asked_is_wrong_usage_and_its_password_is_not_shown() {
    let node = known(A100);
    let file = node.path("config.yaml");
    for (url, wanted) in [
        ("https://127.0.0.1:9400/metrics", "no https"),
        ("127.0.0.1:9400", "http://<host>"),
        ("", "http://<host>"),
        ("http://admin:hunter2@127.0.0.1:9400/metrics", "a user or password"),
    ] {
        std::fs::write(&file, format!("dcgm: {{ url: \"{url}\" }}\n")).unwrap();
        let mut environment = node.command(&["collect"]);
        environment.env("GPU_SESSION_MONITOR_DCGM_URL", url);
        for run in [
            collect(&node, url),
            node.run(&["collect", "--config", file.to_str().unwrap()]),
            Run::of(environment.output().unwrap()),
        ] {
            assert_eq!(run.code, 2, "{url}: {}", run.stderr);
            assert!(run.stderr.contains("dcgm.url") && run.stderr.contains(wanted), "{url}: {}", run.stderr);
            assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
        }
    }
}
