//! Stories about `fanfare token`.

use std::fs;

use fanfare_gateway::auth::{Principal, Verifier};
use fanfare_gateway::config::{Config, Mode};
use fanfare_gateway::machine::Machine;
use fanfare_gateway::settings::{Settings, load};

use crate::fanfare::fanfare;

/// What a node with these environment variables makes of a token.
async fn accepted(token: &str, variables: &[(&str, &str)]) -> Principal {
    let matches = <Settings as clap::Args>::augment_args(clap::Command::new("test")).get_matches_from(["test"]);
    let loaded = load(&matches, None, variables.iter().map(|(name, value)| (name.into(), value.into())));
    let config = Config::from_loaded(&loaded, Mode::Node, &Machine::read()).unwrap();
    let verifier = Verifier::new(&config.auth, config.reload_interval).await.unwrap();
    verifier.verify(token).await.unwrap()
}

const GRANT: [&str; 7] = ["token", "--tenant", "acme", "--user", "42", "--channels", "team:*,news"];

#[tokio::test]
async fn a_node_with_the_same_settings_accepts_the_token() {
    let variables = [
        ("FANFARE_JWT_HS256_SECRET", "kid:new:first-secret,second-secret"),
        ("FANFARE_JWT_ISSUER", "https://issuer"),
        ("FANFARE_JWT_AUDIENCE", "fanfare,other"),
        ("FANFARE_JWT_CLAIM_TENANT", "/app/org"),
    ];
    let mut args = GRANT.to_vec();
    args.extend([
        "--publish",
        "user:*",
        "--methods",
        "dashboard.*,ping",
        "--subscribe",
        "channel:a,channel:b",
        "--expires-s",
        "60",
        "--id",
        "t1",
    ]);
    let said = fanfare(&args, &variables);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let principal = accepted(said.out.trim_end(), &variables).await;
    assert_eq!((principal.tenant.as_str(), &*principal.user), ("acme", "42"));
    assert!(principal.channels.matches("team:7") && principal.channels.matches("news"));
    assert!(principal.methods.matches("dashboard.a") && principal.methods.matches("ping"));
    assert!(principal.publish.matches("user:7") && principal.subscribe.len() == 2);
    assert_eq!(principal.token_id.as_deref(), Some("t1"));
}

#[tokio::test]
async fn the_secret_may_be_given_or_come_from_a_file() {
    let secret = "a-secret-of-some-length-for-tokens";
    let mut args = GRANT.to_vec();
    args.extend(["--secret", secret]);
    let said = fanfare(&args, &[]);
    accepted(said.out.trim_end(), &[("FANFARE_JWT_HS256_SECRET", secret)]).await;

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("\nkid:x:{secret}\nolder\n")).unwrap();
    let variables = [("FANFARE_JWT_HS256_SECRET_FILE", file.path().to_str().unwrap())];
    let said = fanfare(&GRANT, &variables);
    accepted(said.out.trim_end(), &variables).await;
}

#[test]
fn without_a_secret_or_with_bad_words_no_token_is_made() {
    let said = fanfare(&GRANT, &[]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert_eq!(
        said.err,
        "fanfare: no HS256 secret to sign with: set FANFARE_JWT_HS256_SECRET, or give one with the command\n"
    );
    let said = fanfare(&["token", "--tenant", "a:b", "--user", "42", "--secret", "x"], &[]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.starts_with("fanfare: the tenant can't be used: "), "{}", said.err);
    let said = fanfare(&["token", "--tenant", "acme", "--user", "42", "--secret", "kid:hunter2"], &[]);
    assert_eq!((said.code, said.err.as_str()), (1, "fanfare: --secret: a key id without a secret\n"));
}
