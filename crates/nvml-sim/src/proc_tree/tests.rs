#![allow(clippy::unwrap_used)]

use super::*;

const SCENARIO: &str = r"
version: 1
boot_time: -100s
gpus: [{ model: A, memory: 1GiB }]
passwd: [{ name: alice, uid: 1000 }]
processes:
  - { pid: 10, name: a-name-longer-than-fifteen, uid: 1000, start: -10s, end: 20s, names: [{ at: 5s, name: 'b) (c' }] }
  - { pid: 20, count: 2, name: two, cgroup: '0::/x' }
  - { pid: 30, name: hidden, in_proc: false }
  - { pid: 40, name_hex: 'ff0a5c', start: 1s, end: 2s }
  - { pid: 40, name: again, start: 3s }
";
const EPOCH_US: i64 = 1_700_000_000_500_000;

fn tree(root: &Path) -> ProcTree {
    ProcTree::create(root, &Scenario::parse(SCENARIO).unwrap(), EPOCH_US).unwrap()
}

fn pids(root: &Path) -> Vec<u32> {
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pids: Vec<u32> = names.filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

fn fields(root: &Path, pid: u32) -> Vec<String> {
    let text = fs::read_to_string(root.join(pid.to_string()).join("stat")).unwrap();
    let (head, tail) = text.rsplit_once(") ").unwrap();
    let (first, name) = head.split_once(" (").unwrap();
    [first, name].into_iter().chain(tail.split_whitespace()).map(str::to_owned).collect()
}

#[test]
fn follows_the_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut tree = tree(root);
    tree.sync(EPOCH_US).unwrap();
    assert_eq!(pids(root), [10, 20, 21]);
    tree.sync(EPOCH_US + 1_500_000).unwrap();
    assert_eq!(pids(root), [10, 20, 21, 40]);
    assert_eq!(fs::read(root.join("40/comm")).unwrap(), b"\xff\n\\\n");
    let status = fs::read(root.join("40/status")).unwrap();
    assert!(status.starts_with(b"Name:\t\xff\\n\\\\\nUmask"));
    tree.sync(EPOCH_US + 3_000_000).unwrap();
    assert_eq!(fs::read_to_string(root.join("40/comm")).unwrap(), "again\n");
    tree.sync(EPOCH_US + 20_000_000).unwrap();
    assert_eq!(pids(root), [20, 21, 40]);
    assert_eq!(fs::read_to_string(root.join("20/cgroup")).unwrap(), "0::/x");
}

#[test]
fn the_kernels_format() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut tree = tree(root);
    tree.sync(EPOCH_US).unwrap();
    let before = fields(root, 10);
    assert_eq!(before.len(), 52);
    assert_eq!((before[0].as_str(), before[1].as_str(), before[2].as_str()), ("10", "a-name-longer-t", "S"));
    let stat = fs::read_to_string(root.join("stat")).unwrap();
    let btime: i64 = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap().parse().unwrap();
    let ticks: i64 = before[21].parse().unwrap();
    assert_eq!(btime * 1_000_000 + ticks * TICK_US, EPOCH_US - 10_000_000);
    tree.sync(EPOCH_US + 5_000_000).unwrap();
    let after = fields(root, 10);
    assert_eq!(after[1], "b) (c");
    assert_eq!(after[21], before[21]);
    let status = fs::read_to_string(root.join("10/status")).unwrap();
    assert!(status.contains("\nUid:\t1000\t1000\t1000\t1000\n"));
    assert!(status.contains("\nNSpid:\t10\n"));
    assert_eq!(fs::read_to_string(root.join("uptime")).unwrap(), "105.50 105.50\n");
}

#[test]
fn rewrites_only_what_changed() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut tree = tree(root);
    tree.sync(EPOCH_US).unwrap();
    let inode = |file: &str| fs::metadata(root.join(file)).unwrap().ino();
    let before = [inode("20/stat"), inode("10/stat"), inode("10/cgroup")];
    tree.sync(EPOCH_US + 5_000_000).unwrap();
    assert_eq!(before[0], inode("20/stat"));
    assert_ne!(before[1], inode("10/stat"));
    assert_eq!(before[2], inode("10/cgroup"));
}

#[test]
fn users() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passwd");
    tree(folder.path()).write_passwd(&path).unwrap();
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text, "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\n");
}
