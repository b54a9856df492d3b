//! The program itself, in tmux.

use crate::chain::Prometheus;
use crate::node::{Node, plain, program, scenario_file, workspace};
use crate::serve::{Serve, wait_for};
use gpu_session_monitor::top::Theme;
use gpu_session_monitor::top::io::{Feed, Setup, run};
use gpu_session_monitor::view::filter::Filter;
use gpu_session_sources::clock::Clock;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A tmux server of its own, ended with the test.
struct Tmux {
    socket: std::path::PathBuf,
}

impl Tmux {
    /// Runs a shell with the environment of the node, 100 columns wide and 30 lines high.
    fn start(node: &Node) -> Self {
        let tmux = Self { socket: node.path("tmux") };
        let mut shell = node.command(&[]);
        let environment: Vec<_> = shell
            .get_envs()
            .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value?.to_str()?)))
            .collect();
        shell = Command::new("env");
        shell.arg("-i").args(environment).arg("TERM=xterm-256color").arg("tmux").arg("-S").arg(&tmux.socket);
        shell.args(["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "PS1='$ ' exec sh"]);
        let run = shell.output().expect("tmux runs; scripts/setup.sh installs it");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        tmux
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn typed(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.keys(&["Enter"]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as wanted.
    fn shows(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        wait_for(what, || Some(self.screen()).filter(|text| wanted(text)).ok_or_else(|| self.screen()))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .arg("kill-server")
            .stderr(Stdio::null())
            .status();
    }
}

fn is_raw(tmux: &Tmux) -> bool {
    // tmux knows whether the alternate screen is shown.
    tmux.tmux(&["display-message", "-p", "#{alternate_on}"]).trim() == "1"
}

/// Whether stty said that the terminal reads lines. What was typed early stands before the prompt, and that before the answer.
fn is_cooked(text: &str) -> bool {
    text.lines().any(|line| line.trim_start_matches("$ ").trim() == "icanon")
}

#[test]
fn keys_do_what_they_say_and_the_terminal_is_given_back() {
    let mut node = Node::in_cluster(&scenario_file("demo.yaml"));
    node.at(600.0);
    let tmux = Tmux::start(&node);
    tmux.typed(&format!("echo before; {} top --interval 500ms; echo \"ended with $?\"", program()));
    let text = tmux.shows("the sessions", |text| text.contains("tritonserv") && text.contains("q quit"));
    assert!(text.contains("HELD IDLE") && text.contains("0_10_0") && text.contains("550.54.15"), "{text}");
    assert!(is_raw(&tmux) && !text.contains("before"));

    tmux.keys(&["/"]);
    tmux.keys(&["c", "a", "r", "o", "l"]);
    tmux.shows("the filter", |text| text.contains("filter: carol_") && !text.contains("tritonserv"));
    tmux.keys(&["Enter", "g"]);
    tmux.shows("the group", |text| text.contains("carol: 2 sessions") && text.contains("grouped by user"));
    tmux.keys(&["Enter"]);
    tmux.shows("the detail", |text| text.contains("placed by") && text.contains("seen "));
    tmux.keys(&["?"]);
    tmux.shows("the help", |text| text.contains("HELD IDLE  a container holds"));
    tmux.keys(&["x", "Space"]);
    tmux.shows("the pause", |text| text.contains("PAUSED"));
    tmux.tmux(&["resize-window", "-x", "50", "-y", "10"]);
    tmux.shows("too small", |text| text.contains("The terminal is 50x10"));
    tmux.tmux(&["resize-window", "-x", "100", "-y", "30"]);
    tmux.keys(&["q"]);
    let text = tmux.shows("the end", |text| text.contains("ended with 0"));
    assert!(!is_raw(&tmux) && text.contains("before") && !text.contains("q quit"), "{text}");
    // What is typed is shown again: the terminal is no longer raw.
    tmux.typed("stty -a | grep -o '[-]*icanon'; stty -a | grep -o ' [-]*echo '");
    tmux.shows("a terminal as it was", |text| {
        is_cooked(text) && text.lines().any(|line| line.trim() == "echo")
    });
}

#[test]
fn a_signal_ends_it_and_gives_the_terminal_back() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    let tmux = Tmux::start(&node);
    tmux.typed(&format!("{} top; echo \"ended with $?\"", program()));
    tmux.shows("the sessions", |text| text.contains("12345") && text.contains("q quit"));
    top_of(&tmux, rustix::process::Signal::TERM);
    tmux.shows("the end", |text| text.contains("ended with 0"));
    assert!(!is_raw(&tmux));
}

#[test]
fn ctrl_z_and_a_signal_stop_it_and_the_terminal_is_the_shells_until_it_goes_on() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    let tmux = Tmux::start(&node);
    tmux.typed(&format!("{} top; echo \"ended with $?\"", program()));
    let is_shown = |text: &str| text.contains("12345") && text.contains("q quit");
    tmux.shows("the sessions", is_shown);
    tmux.keys(&["C-z"]);
    wait_for("the shell's screen", || (!is_raw(&tmux)).then_some(()).ok_or_else(|| tmux.screen()));
    tmux.typed("stty -a | grep -o '[-]*icanon'");
    tmux.shows("a terminal as it was", is_cooked);
    tmux.typed("fg; echo \"and then $?\"");
    tmux.shows("the sessions again", is_shown);
    // The keys are its own again.
    tmux.keys(&["?"]);
    tmux.shows("the help", |text| text.contains("Ctrl-Z"));
    tmux.keys(&["x"]);
    tmux.shows("the sessions", is_shown);
    top_of(&tmux, rustix::process::Signal::TSTP);
    wait_for("the shell's screen", || (!is_raw(&tmux)).then_some(()).ok_or_else(|| tmux.screen()));
    tmux.typed("fg; echo \"at last $?\"");
    tmux.shows("the sessions again", is_shown);
    tmux.keys(&["q"]);
    tmux.shows("the end", |text| text.contains("at last 0"));
    assert!(!is_raw(&tmux));
}

/// Sends a signal to what the shell runs.
fn top_of(tmux: &Tmux, signal: rustix::process::Signal) {
    let pid: i32 = tmux.tmux(&["display-message", "-p", "#{pane_pid}"]).trim().parse().unwrap();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let top: i32 = children.split_whitespace().next().unwrap().parse().unwrap();
    let top = rustix::process::Pid::from_raw(top).unwrap();
    rustix::process::kill_process(top, signal).unwrap();
}

#[test]
fn a_driver_that_hangs_delays_no_key_and_what_is_old_is_called_so() {
    let process = "  - { pid: 10, name: trainer, uid: 1000, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }\n";
    let hangs = "faults: [{ from: 28s, function: \"nvml*\", hang: true }]\n";
    let mut node = Node::new(&(plain(1, process) + hangs));
    node.at(10.0);
    let tmux = Tmux::start(&node);
    tmux.typed(&format!("{} top --timeout 90s --interval 500ms; echo \"ended with $?\"", program()));
    tmux.shows("the session", |text| text.contains("trainer"));
    node.at(30.0);
    tmux.shows("an old screen", |text| text.contains(" ago") && !text.contains(" 0s ago"));
    node.at(50.0);
    let text = tmux.shows("that nothing is answered", |text| text.contains("NO ANSWER for "));
    assert!(text.contains("trainer"), "{text}");
    tmux.keys(&["?"]);
    tmux.shows("the help", |text| text.contains("HELD IDLE  a container holds"));
    tmux.keys(&["x", "C-c"]);
    tmux.shows("the end", |text| text.contains("ended with 0"));
    assert!(!is_raw(&tmux));
}

#[test]
fn a_recording_plays_pauses_and_steps() {
    let node = Node::new(&scenario_file("seed.yaml"));
    let tmux = Tmux::start(&node);
    let capture = workspace().join("testdata/captures/h100-550-demo/capture.json");
    tmux.typed(&format!("{} top --interval 500ms --replay {}", program(), capture.display()));
    tmux.shows("the end of the recording", |text| {
        text.contains("recording 3/3") && text.contains("22:23:30Z")
    });
    tmux.keys(&[","]);
    tmux.shows("the sample before", |text| {
        text.contains("recording 2/3  PAUSED") && text.contains("22:23:25Z")
    });
    tmux.keys(&[",", ","]);
    tmux.shows("the first", |text| text.contains("recording 1/3  PAUSED"));
    tmux.keys(&["."]);
    tmux.shows("the second", |text| text.contains("recording 2/3  PAUSED"));
    tmux.keys(&["Space"]);
    tmux.shows("the last", |text| text.contains("recording 3/3  2023"));
}

#[test]
fn colours_are_the_terminals_own_and_none_where_they_are_not_wanted() {
    let node = Node::new(&scenario_file("seed.yaml"));
    let capture = workspace().join("testdata/captures/h100-550-demo/capture.json");
    for (variable, wanted) in [("NO_COLOR=", true), ("NO_COLOR=1", false)] {
        let tmux = Tmux::start(&node);
        tmux.typed(&format!("{variable} {} top --replay {}", program(), capture.display()));
        tmux.shows("the screen", |text| text.contains("HELD IDLE"));
        let text = tmux.tmux(&["capture-pane", "-p", "-e"]);
        let codes = text.split("\x1b[").skip(1).filter_map(|part| Some(part.split_once('m')?.0));
        // Attributes are below 30; colours are 38;5;N, of which the first sixteen are the palette's.
        let is_color =
            |codes: &&str| codes.split(';').any(|code| code.parse().is_ok_and(|code: u32| code >= 30));
        let colors: Vec<&str> = codes.filter(is_color).collect();
        assert_eq!(colors.iter().any(|codes| codes.contains("38;5;")), wanted, "{variable}: {colors:?}");
        for codes in colors {
            let number = codes.strip_prefix("38;5;").and_then(|number| number.parse::<u32>().ok());
            assert!(
                ["39", "49"].contains(&codes) || number.is_some_and(|number| number < 16),
                "{variable}: {codes}"
            );
        }
    }
}

#[test]
fn what_is_no_terminal_is_told_what_to_use() {
    let node = Node::new(&scenario_file("seed.yaml"));
    let run = node.run(&["top"]);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("needs a terminal") && run.stderr.contains("gpu-session-monitor ps"),
        "{}",
        run.stderr
    );
    let run = node.run(&["top", "--interval", "1h"]);
    assert!(run.code == 2 && run.stderr.contains("500ms to 5m"), "{}", run.stderr);
    let tmux = Tmux::start(&node);
    tmux.typed(&format!("TERM=dumb {} top; echo \"ended with $?\"", program()));
    let text = tmux.shows("the refusal", |text| text.contains("ended with 2"));
    assert!(text.contains("TERM=dumb"), "{text}");
}

#[test]
fn an_agent_and_a_cluster_can_be_looked_at() {
    let mut node = Node::in_cluster(&scenario_file("demo.yaml"));
    node.at(600.0);
    let serve = Serve::start(&node, &["--node", "gpu-7"]);
    serve.sampled(&node);
    serve.samples(&mut node, [605, 610]);
    let tmux = Tmux::start(&node);
    let address = serve.address();
    tmux.typed(&format!("{} top --connect http://{address}", program()));
    tmux.shows("the agent's sessions", |text| text.contains("tritonserv") && text.contains("HELD IDLE"));
    tmux.keys(&["q"]);
    let prometheus = Prometheus::scraping(&node, &address);
    prometheus.query("gpu_session_info");
    // Prometheus has the time of day.
    let own_time = "env -u GPU_SESSION_MONITOR_CLOCK";
    tmux.typed(&format!("{own_time} {} top --prometheus {}", program(), prometheus.url()));
    tmux.shows("the cluster's sessions", |text| {
        text.contains("gpu-7") && text.contains("tritonserv") && text.contains("HELD IDLE")
    });
    // Metrics say too what does nothing.
    tmux.shows("what is idle", |text| {
        text.lines().any(|line| line.contains("IDLE") && !line.contains("HELD IDLE") && line.contains("erin"))
    });
    tmux.keys(&["q"]);
    tmux.shows("the shell", |text| !text.contains("q quit"));
    tmux.typed(&format!(
        "{own_time} {} top --prometheus {} --node gpu-7 --gpu 1",
        program(),
        prometheus.url()
    ));
    tmux.shows("one device", |text| text.contains("q quit") && text.contains("1 device,"));
    tmux.keys(&["q"]);
    tmux.shows("the shell", |text| !text.contains("q quit"));
    // One place at a time.
    let both = node.run(&["top", "--connect", "http://127.0.0.1:1", "--replay", "capture.json"]);
    assert_eq!(both.code, 2, "{}", both.stderr);
}

/// What fails as no source should.
struct Fails;

impl gpu_session_monitor::view::Looks for Fails {
    fn look(&mut self) -> anyhow::Result<gpu_session_monitor::view::View> {
        panic!("a wrong turn")
    }
}

/// The test is also the program that is run in the terminal.
#[test]
fn a_defect_is_told_on_a_terminal_that_was_given_back() {
    const INSIDE: &str = "GPU_SESSION_MONITOR_TEST_INSIDE_TMUX";
    if std::env::var_os(INSIDE).is_some() {
        let setup = Setup {
            feed: Feed::Live(Box::new(Fails)),
            filter: Filter::default(),
            interval: Duration::from_secs(1),
            clock: Clock::Real,
            theme: Theme { color: false },
        };
        let error = run(setup).unwrap_err();
        writeln!(std::io::stdout(), "then: {error:#}").unwrap();
        return;
    }
    let node = Node::in_cluster(&scenario_file("demo.yaml"));
    let tmux = Tmux::start(&node);
    let test = std::env::current_exe().unwrap();
    let name = "top::terminal::a_defect_is_told_on_a_terminal_that_was_given_back";
    tmux.typed(&format!("echo before; {INSIDE}=1 {} --exact --nocapture {name}", test.display()));
    let text = tmux.shows("the end", |text| text.contains("test result:"));
    assert!(!is_raw(&tmux) && text.contains("before") && !text.contains("q quit"), "{text}");
    let said = text.replace('\n', "");
    assert!(
        said.contains("then: a defect of this program: panicked at") && said.contains("a wrong turn"),
        "{text}"
    );
    tmux.typed("stty -a | grep -o '[-]*icanon'");
    tmux.shows("a terminal as it was", is_cooked);
}
