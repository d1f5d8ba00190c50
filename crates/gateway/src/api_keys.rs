//! Who may use the HTTP API: keys with every scope from the settings, keys with narrower ones from a file.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::{Pattern, Patterns, Tenant};
use serde::Deserialize;

use crate::config::{ApiKeysConfig, is_bearer, is_name};
use crate::secret::{Secret, SecretDigest};
use crate::watched_file::{WatchedFile, WatchedFileError};

/// All keys. Their file is read again when it changes.
#[derive(Debug)]
pub struct ApiKeys {
    fixed: Vec<Entry>,
    file: Option<Arc<WatchedFile<Vec<Entry>>>>,
}

/// What somebody with a key may do.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Whose key it is, for logs and metrics.
    pub name: Arc<str>,
    scope: Arc<Scope>,
}

/// What can be done over the HTTP API.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Publish events.
    Publish,
    /// Read history, presence and statistics.
    Read,
    /// Disconnect users.
    Disconnect,
    /// Revoke tokens.
    Revoke,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Publish => "publish",
            Verb::Read => "read",
            Verb::Disconnect => "disconnect",
            Verb::Revoke => "revoke",
        })
    }
}

#[derive(Debug)]
struct Entry {
    digest: SecretDigest,
    key: ApiKey,
}

#[derive(Debug)]
enum Scope {
    Everything,
    Only { tenants: Patterns, verbs: Vec<Verb> },
}

impl ApiKeys {
    /// Reads the file of keys, when there is one.
    pub async fn new(config: &ApiKeysConfig, reload_interval: Duration) -> Result<Self, WatchedFileError> {
        let everything = Arc::new(Scope::Everything);
        let fixed = config.keys.iter().map(|named| Entry {
            digest: named.key.digest(),
            key: ApiKey { name: named.name.as_ref().into(), scope: Arc::clone(&everything) },
        });
        let watch = async |path: &PathBuf| WatchedFile::spawn(vec![path.clone()], reload_interval, parse).await;
        let file = match &config.file {
            Some(path) => Some(watch(path).await?),
            None => None,
        };
        Ok(Self { fixed: fixed.collect(), file })
    }

    /// Whose key `bearer` is. Takes as long for a wrong key as for a right one, however much of it is right.
    pub fn check(&self, bearer: &str) -> Option<ApiKey> {
        let digest = SecretDigest::of(bearer);
        let from_file = self.file.as_ref().map(|file| file.load());
        let entries = self.fixed.iter().chain(from_file.iter().flat_map(|entries| entries.iter()));
        let mut found = None;
        for entry in entries {
            // No early end: the time must not tell which key it was.
            if entry.digest == digest {
                found = Some(&entry.key);
            }
        }
        found.cloned()
    }

    /// Of all keys that there are now.
    pub fn names(&self) -> HashSet<Arc<str>> {
        let from_file = self.file.as_ref().map(|file| file.load());
        let entries = self.fixed.iter().chain(from_file.iter().flat_map(|entries| entries.iter()));
        entries.map(|entry| Arc::clone(&entry.key.name)).collect()
    }
}

impl ApiKey {
    /// Whether the key allows `verb` in `tenant`.
    pub fn may(&self, verb: Verb, tenant: &Tenant) -> bool {
        match &*self.scope {
            Scope::Everything => true,
            Scope::Only { tenants, verbs } => verbs.contains(&verb) && tenants.matches(tenant.as_str()),
        }
    }

    /// Whether the key allows `verb` in every tenant, whatever it is called.
    pub fn may_in_every_tenant(&self, verb: Verb) -> bool {
        match &*self.scope {
            Scope::Everything => true,
            Scope::Only { tenants, verbs } => verbs.contains(&verb) && tenants.iter().any(is_every_tenant),
        }
    }

    /// Whether the key allows `verb` in some tenant: for what belongs to none.
    pub fn may_anywhere(&self, verb: Verb) -> bool {
        match &*self.scope {
            Scope::Everything => true,
            Scope::Only { verbs, .. } => verbs.contains(&verb),
        }
    }
}

/// A tenant has one segment.
fn is_every_tenant(pattern: &Pattern) -> bool {
    matches!(pattern.as_str(), "*" | "**")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    key: Vec<FileKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKey {
    name: String,
    key: Secret,
    tenants: Vec<String>,
    verbs: Vec<Verb>,
}

/// A file of keys can't be used. It never quotes the file, which is full of secrets.
#[derive(Debug)]
struct FileError(String);

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parse(files: &[Vec<u8>]) -> Result<Vec<Entry>, FileError> {
    let text = String::from_utf8(files.concat()).map_err(|_| FileError("not UTF-8 text".to_owned()))?;
    let file: File = toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        FileError(format!("line {line}: {}", error.message()))
    })?;
    file.key.into_iter().enumerate().map(|(index, key)| entry(index + 1, key)).collect()
}

fn entry(number: usize, key: FileKey) -> Result<Entry, FileError> {
    let wrong = |what: &str| FileError(format!("key {number}: {what}"));
    if !is_name(&key.name) {
        return Err(wrong("its name must be 1 to 64 letters, digits, '.', '_' or '-'"));
    }
    if !is_bearer(key.key.expose()) {
        return Err(wrong("it must be visible ASCII characters without spaces"));
    }
    let tenants = Patterns::parse(&key.tenants).map_err(|error| wrong(&format!("tenants: {error}")))?;
    let scope = Arc::new(Scope::Only { tenants, verbs: key.verbs });
    Ok(Entry { digest: key.key.digest(), key: ApiKey { name: key.name.into(), scope } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::fs;

    use super::*;
    use crate::config::NamedKey;

    const RELOAD: Duration = Duration::from_millis(5);
    const FILE: &str = r#"
[[key]]
name = "orders"
key = "first-key"
tenants = ["acme", "test-*"]
verbs = ["publish", "read"]

[[key]]
name = "orders"
key = "second-key"
tenants = ["*"]
verbs = ["revoke", "disconnect"]
"#;

    fn tenant(name: &str) -> Tenant {
        Tenant::parse(name).unwrap()
    }

    async fn keys(named: &[(&str, &str)], file: Option<PathBuf>) -> Result<ApiKeys, WatchedFileError> {
        let keys = named.iter().map(|(name, key)| NamedKey { name: (*name).into(), key: Secret::new(*key) });
        ApiKeys::new(&ApiKeysConfig { keys: keys.collect(), file }, RELOAD).await
    }

    #[tokio::test]
    async fn a_key_of_the_settings_may_do_everything() {
        let keys = keys(&[("app", "old"), ("app", "new"), ("other", "third")], None).await.unwrap();
        for (bearer, name) in [("old", "app"), ("new", "app"), ("third", "other")] {
            let key = keys.check(bearer).unwrap();
            assert_eq!(&*key.name, name);
            assert!(key.may(Verb::Revoke, &tenant("acme")) && key.may_anywhere(Verb::Publish));
        }
        for bearer in ["", "ol", "oldd", "OLD", "app:old"] {
            assert!(keys.check(bearer).is_none(), "{bearer:?}");
        }
        assert!(super::tests::keys(&[], None).await.unwrap().check("").is_none());
    }

    #[tokio::test]
    async fn a_key_of_every_tenant_is_one_for_its_verbs_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.toml");
        let of = |key: &str, tenants: &str| {
            format!("[[key]]\nname = '{key}'\nkey = '{key}'\ntenants = [{tenants}]\nverbs = ['read']\n")
        };
        let file = [of("all", "'acme', '*'"), of("all2", "'**'"), of("some", "'*-test', 'a*'"), of("none", "")];
        fs::write(&path, file.concat()).unwrap();
        let keys = keys(&[("app", "app")], Some(path)).await.unwrap();
        let everywhere = |key: &str, verb| keys.check(key).unwrap().may_in_every_tenant(verb);
        assert_eq!(
            ["all", "all2", "some", "none", "app"].map(|key| everywhere(key, Verb::Read)),
            [true, true, false, false, true]
        );
        assert!(!everywhere("all", Verb::Revoke) && everywhere("app", Verb::Revoke));
        let mut names: Vec<_> = keys.names().into_iter().collect();
        names.sort();
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["all", "all2", "app", "none", "some"]);
    }

    #[tokio::test]
    async fn a_key_of_the_file_may_do_what_the_file_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        fs::write(&path, FILE).unwrap();
        let keys = keys(&[("app", "fixed")], Some(path)).await.unwrap();
        assert!(keys.check("fixed").is_some());
        let key = keys.check("first-key").unwrap();
        assert_eq!(&*key.name, "orders");
        assert!(key.may(Verb::Publish, &tenant("acme")) && key.may(Verb::Read, &tenant("test-7")));
        assert!(!key.may(Verb::Publish, &tenant("acme2")) && !key.may(Verb::Revoke, &tenant("acme")));
        assert!(key.may_anywhere(Verb::Read) && !key.may_anywhere(Verb::Disconnect));
        let key = keys.check("second-key").unwrap();
        assert!(key.may(Verb::Revoke, &tenant("anybody")) && !key.may(Verb::Publish, &tenant("anybody")));
    }

    #[tokio::test]
    async fn a_changed_file_counts_without_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        fs::write(&path, FILE).unwrap();
        let keys = keys(&[], Some(path.clone())).await.unwrap();
        assert!(keys.check("third-key").is_none());
        fs::write(&path, FILE.replace("first-key", "third-key")).unwrap();
        let wait = async {
            while keys.check("third-key").is_none() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the new key is known within 10 s");
        assert!(keys.check("first-key").is_none() && keys.check("second-key").is_some());
    }

    #[tokio::test]
    async fn a_bad_file_is_refused_without_quoting_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        let cases = [
            (FILE.replace("\"publish\"", "\"write\""), "line 6: unknown variant `write`"),
            (FILE.replace("verbs = [\"publish\", \"read\"]", ""), "line 2: missing field `verbs`"),
            (FILE.replace("tenants = [\"*\"]", "tenant = \"*\""), "line 11: unknown field `tenant`"),
            (FILE.replace("name = \"orders\"", "name = \"or ders\""), "key 1: its name must be 1 to 64 letters"),
            (FILE.replace("first-key", "first key"), "key 1: it must be visible ASCII characters without spaces"),
            (FILE.replace("\"*\"", "\"a b\""), "key 2: tenants: "),
            (FILE.replace("\"first-key\"", "\"first-key"), "line 4: "),
        ];
        for (content, expected) in cases {
            fs::write(&path, content).unwrap();
            let error = keys(&[], Some(path.clone())).await.unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}: {expected}", path.display())), "{error}");
            assert!(!error.contains("first-key") && !error.contains("second-key"), "{error}");
        }
    }

    #[tokio::test]
    async fn no_key_is_in_the_debug_output() {
        let keys = keys(&[("app", "hunter2")], None).await.unwrap();
        assert!(!format!("{keys:?}").contains("hunter2"));
    }
}
