//! Users with passwords (RFC 7617), by their bcrypt hashes.

use super::cache::{Cache, Fingerprints};
use super::problem::Refusal;
use super::turns::Turns;
use super::web_config::Secret;
use anyhow::bail;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Hashes that are worked out at once.
const AT_ONCE: usize = 2;
/// Checks that run or wait.
const PENDING: usize = 32;
/// Passwords that were right need not be worked out again for so long; those that were wrong neither.
const RIGHT: Duration = Duration::from_secs(60 * 60);
const WRONG: Duration = Duration::from_secs(60);
/// The least that bcrypt has.
const CHEAPEST: u32 = 4;
/// A dearer hash would take seconds of a processor beside people's jobs.
const DEAREST: u32 = 16;
/// What a user who is not there is checked against: no password has this hash.
const NOBODY: &str = "abcdefghijklmnopqrstuuGPL25cHGfMI3nGwZL5xVoGYUWyMNpS6";

/// The users of a web configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    /// As dear as the dearest hash.
    nobody: String,
}

impl Users {
    /// The error names the user, and shows no hash.
    pub(super) fn new(written: BTreeMap<String, Secret>) -> anyhow::Result<Self> {
        let (mut hashes, mut dearest) = (BTreeMap::new(), CHEAPEST);
        for (user, hash) in written {
            if user.is_empty() || user.contains(':') || user.chars().any(char::is_control) {
                bail!(
                    "basic_auth_users: {user:?} cannot be a user: a name is not empty, without colons and control characters"
                );
            }
            let hash = hash.reveal();
            let cost = hash.is_ascii().then(|| hash.parse::<bcrypt::HashParts>().ok()).flatten();
            let Some(cost) = cost.map(|parts| parts.get_cost()) else {
                bail!(
                    "basic_auth_users: what {user:?} has is no bcrypt hash; make one with: htpasswd -nBC 10 {user}"
                );
            };
            if !(CHEAPEST..=DEAREST).contains(&cost) {
                bail!(
                    "basic_auth_users: the hash of {user:?} has the cost {cost}; from {CHEAPEST} to {DEAREST} are allowed, 10 is usual"
                );
            }
            dearest = dearest.max(cost);
            hashes.insert(user, hash.to_owned());
        }
        Ok(Self { hashes, nobody: format!("$2b${dearest:02}${NOBODY}") })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }
}

/// Checks passwords.
pub(super) struct Basic {
    fingerprints: Fingerprints,
    /// Found by the hash, too: what is known of a hash that is gone is never asked for.
    right: Arc<Cache<()>>,
    wrong: Arc<Cache<()>>,
    turns: Arc<Turns>,
}

impl Basic {
    /// Knows nobody yet.
    pub(super) fn new() -> anyhow::Result<Self> {
        let turns = Turns::new(AT_ONCE, PENDING);
        // Apart, so that many wrong ones drive out no right one.
        Ok(Self {
            fingerprints: Fingerprints::new()?,
            right: Arc::new(Cache::new(1000)),
            wrong: Arc::new(Cache::new(1000)),
            turns,
        })
    }

    /// Whether what follows `Basic ` in the header is a user with his password.
    pub(super) async fn check(&self, users: &Users, encoded: &str, peer: IpAddr) -> Result<bool, Refusal> {
        let Some((user, password)) = decode(encoded) else { return Ok(false) };
        let known = users.hashes.get(&user);
        let hash = known.unwrap_or(&users.nobody).clone();
        let fingerprint = self.fingerprints.of(&[hash.as_bytes(), user.as_bytes(), password.as_bytes()]);
        if let Some(known) = self.known(&fingerprint) {
            return Ok(known);
        }
        let turn = self.turns.next(peer).await?;
        // Somebody with the same credentials may have been before.
        if let Some(known) = self.known(&fingerprint) {
            return Ok(known);
        }
        let is_user = known.is_some();
        let (right, wrong) = (Arc::clone(&self.right), Arc::clone(&self.wrong));
        let check = tokio::task::spawn_blocking(move || {
            // It ends here, and what was worked out is kept, even if nobody waits for it any more.
            let _turn = turn;
            let is_right = bcrypt::verify(password, &hash).unwrap_or(false) && is_user;
            let now = Instant::now();
            if is_right {
                right.put(fingerprint, (), now, RIGHT);
            } else {
                wrong.put(fingerprint, (), now, WRONG);
            }
            is_right
        });
        Ok(check.await.unwrap_or(false))
    }

    fn known(&self, fingerprint: &super::cache::Fingerprint) -> Option<bool> {
        let now = Instant::now();
        if self.right.get(fingerprint, now).is_some() {
            // Who comes often is not worked out again.
            self.right.put(*fingerprint, (), now, RIGHT);
            return Some(true);
        }
        self.wrong.get(fingerprint, now).map(|()| false)
    }
}

fn decode(encoded: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// What is answered to whoever has no right credentials.
pub(super) fn unauthorized() -> Refusal {
    let detail = "this needs credentials that are right: see web.config_file";
    Refusal::new(StatusCode::UNAUTHORIZED, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn users(list: &[(&str, &str)]) -> anyhow::Result<Users> {
        let yaml: Vec<String> = list.iter().map(|(user, hash)| format!("  {user:?}: {hash:?}\n")).collect();
        let text = format!("basic_auth_users:\n{}", yaml.concat());
        Users::new(super::super::web_config::WebConfig::parse(&text).unwrap().users().unwrap())
    }

    fn credentials(text: &str) -> String {
        STANDARD.encode(text)
    }

    #[tokio::test]
    async fn a_user_has_his_password_and_answers_are_remembered_for_the_hash_of_now() {
        let hash = bcrypt::hash("s3cr3t", 4).unwrap();
        let (basic, users) = (Basic::new().unwrap(), users(&[("alice", &hash)]).unwrap());
        let check = async |text: &str| basic.check(&users, &credentials(text), PEER).await.unwrap();
        for _ in 0..2 {
            assert!(check("alice:s3cr3t").await);
            for wrong in ["alice:other", "alice:", "bob:s3cr3t", ":s3cr3t", "alice", ""] {
                assert!(!check(wrong).await, "{wrong}");
            }
        }
        assert!(!basic.check(&users, "%%%", PEER).await.unwrap());
        let other = Users::new(BTreeMap::new()).unwrap();
        assert!(!basic.check(&other, &credentials("alice:s3cr3t"), PEER).await.unwrap(), "he is gone");
        let of = |text: &str| basic.fingerprints.of(&[hash.as_bytes(), b"alice", text.as_bytes()]);
        assert_eq!((basic.known(&of("s3cr3t")), basic.known(&of("other"))), (Some(true), Some(false)));
        let anew = bcrypt::hash("an0ther", 4).unwrap();
        let anew = self::users(&[("alice", &anew)]).unwrap();
        assert!(
            !basic.check(&anew, &credentials("alice:s3cr3t"), PEER).await.unwrap(),
            "it was right before"
        );
    }

    #[tokio::test]
    async fn what_was_worked_out_is_kept_though_whoever_asked_has_gone() {
        let hash = bcrypt::hash("s3cr3t", 6).unwrap();
        let (basic, users) = (Basic::new().unwrap(), users(&[("alice", &hash)]).unwrap());
        let credentials = credentials("alice:s3cr3t");
        let mut gone = Box::pin(basic.check(&users, &credentials, PEER));
        // It is asked once, which begins the work, and dropped.
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(gone.as_mut().poll(cx))).await.is_pending());
        drop(gone);
        let fingerprint = basic.fingerprints.of(&[hash.as_bytes(), b"alice", b"s3cr3t"]);
        let begin = Instant::now();
        while basic.known(&fingerprint).is_none() && begin.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(basic.known(&fingerprint), Some(true));
    }

    #[test]
    fn a_user_who_is_not_there_costs_as_much() {
        let hash = bcrypt::hash("x", 5).unwrap().replacen("$05$", "$12$", 1);
        let users = users(&[("alice", &hash)]).unwrap();
        assert_eq!(users.nobody.parse::<bcrypt::HashParts>().unwrap().get_cost(), 12);
        assert!(!bcrypt::verify("", &users.nobody.replacen("$12$", "$04$", 1)).unwrap());
    }

    #[test]
    fn what_is_no_hash_is_said_and_not_shown() {
        let dear = bcrypt::hash("x", 4).unwrap().replacen("$04$", "$31$", 1);
        for (user, hash, wanted) in [
            ("alice", "s3cr3t", "htpasswd"),
            ("alice", "é$2y$10$s3cr3t", "htpasswd"),
            ("alice", "$2y$10$s3cr3t", "htpasswd"),
            ("alice", "", "htpasswd"),
            ("a:b", "$2y$10$s3cr3t", "colons"),
            ("alice", &dear, "cost 31"),
        ] {
            let error = users(&[(user, hash)]).unwrap_err().to_string();
            assert!(error.contains(wanted) && !error.contains("s3cr3t") && !error.contains(&dear), "{error}");
        }
    }
}
