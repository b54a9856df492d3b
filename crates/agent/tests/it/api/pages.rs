//! Pages have each one once.

use super::Site;
use crate::node::{Node, plain};
use crate::serve::Serve;
use gpu_session_client::api::Sessions;
use gpu_session_client::{Client, Filter};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// 300 that stay, and between them, by pid, some that come and go.
fn many() -> Site {
    let mut processes = String::from(
        "  - { pid: 1000, name: stays, uid: 1000, count: 300, devices: [{ gpu: 0, memory: 1MiB }] }\n",
    );
    for n in 0..60 {
        let (pid, start) = (if n % 2 == 0 { 500 + n } else { 2000 + n }, 5 + 5 * n);
        let _ = writeln!(
            processes,
            "  - {{ pid: {pid}, name: passes, uid: 1001, start: {start}s, end: {}s, devices: [{{ gpu: 0, memory: 1MiB }}] }}",
            start + 40
        );
    }
    let mut node = Node::new(&plain(1, &processes));
    node.at(50.0);
    let serve = Serve::start(&node, &[]);
    serve.sampled(&node);
    Site { node, serve }
}

/// How often each session is on the pages, by command and public name.
fn counted(pages: &[Sessions]) -> BTreeMap<(String, String), usize> {
    let mut seen = BTreeMap::new();
    for session in pages.iter().flat_map(|page| page.sessions.clone()) {
        *seen.entry((session.command.unwrap(), session.session)).or_default() += 1;
    }
    seen
}

#[test]
fn pages_have_each_session_once() {
    let site = many();
    let client = site.client();
    let all = client.sessions(&Filter::new().limit(1000)).unwrap();
    assert!(all.sessions.len() > 300 && all.next_cursor.is_none());
    assert_eq!(client.sessions(&Filter::new()).unwrap().sessions.len(), 100, "the default");
    let pages: Result<Vec<_>, _> = client.pages(&Filter::new().limit(7), Client::sessions).collect();
    let pages = pages.unwrap();
    assert!(pages.iter().rev().skip(1).all(|page| page.sessions.len() == 7));
    let paged: Vec<_> = pages.into_iter().flat_map(|page| page.sessions).collect();
    assert_eq!(paged, all.sessions, "in the order of the whole");
}

#[test]
fn pages_have_each_that_stays_once_while_others_come_and_go() {
    let mut site = many();
    let client = site.client();
    let filter = Filter::new().limit(7);
    let (mut pages, mut at) = (Vec::new(), 50);
    for page in client.pages(&filter, Client::sessions) {
        pages.push(page.unwrap());
        at += 5;
        site.sample_at([at]);
    }
    let seen = counted(&pages);
    assert!(seen.values().all(|count| *count == 1), "nobody twice: {seen:?}");
    let stays = seen.keys().filter(|(command, _)| command == "stays").count();
    assert_eq!(stays, 300);
    assert!(seen.len() > 300, "others were there too");
}

#[test]
fn every_list_has_pages() {
    let site = Site::demo(17);
    let client = site.client();
    let one = Filter::new().limit(1);
    let devices: Vec<_> = client.pages(&one, Client::devices).map(|page| page.unwrap().devices).collect();
    assert_eq!(devices.concat(), client.devices(&Filter::new()).unwrap().devices);
    assert_eq!(
        devices.concat().iter().map(|d| d.gpu.as_str()).collect::<Vec<_>>(),
        ["0_1_0", "0_5_0", "0_9_0", "0_10_0", "1", "2", "3"]
    );
    let users: Vec<_> = client.pages(&one, Client::users).map(|page| page.unwrap().users).collect();
    assert_eq!(users.concat(), client.users(&Filter::new()).unwrap().users);
    let held: Vec<_> =
        client.pages(&one, Client::allocations).map(|page| page.unwrap().allocations).collect();
    assert_eq!(held.concat(), client.allocations(&Filter::new()).unwrap().allocations);
    assert!(users.len() > 3 && held.len() > 3);
}
