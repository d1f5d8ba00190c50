//! Stories about the configuration, as `fanfare config check` and a start tell them.

use std::fs;

use crate::fanfare::{fanfare, start};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The value and the source that `config check` has printed for a setting.
fn shown<'a>(out: &'a str, key: &str) -> (&'a str, &'a str) {
    let line = out.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap();
    let rest = line[key.len()..].trim_start();
    let (value, source) = rest.split_once("  ").unwrap_or(("", rest));
    (value, source.trim_start())
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_default() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(file.path(), "drain_s = 1\nworkers = 1\nlog_format = 'json'\n").unwrap();
    let path = file.path().to_str().unwrap();
    let variables = [("FANFARE_DRAIN_S", "2"), ("FANFARE_WORKERS", "2"), ("FANFARE_JWT_HS256_SECRET", SECRET)];
    let said = fanfare(&["config", "check", "--config", path, "--drain-s", "3"], &variables);
    assert_eq!((said.code, said.err.as_str()), (0, "the configuration can be used\n"));
    assert_eq!(shown(&said.out, "drain_s"), ("3", "flag --drain-s"));
    assert_eq!(shown(&said.out, "workers"), ("2", "environment variable FANFARE_WORKERS"));
    assert_eq!(shown(&said.out, "log_format"), ("json", format!("{path}:3").as_str()));
    assert_eq!(shown(&said.out, "ping_ms"), ("25000", "default"));
    assert_eq!(shown(&said.out, "node_id"), ("", "not set"));

    let mut with_config = variables.to_vec();
    with_config.push(("FANFARE_CONFIG", path));
    let said = fanfare(&["config", "check"], &with_config);
    assert_eq!(shown(&said.out, "log_format"), ("json", format!("{path}:3").as_str()));
}

#[test]
fn a_typo_in_the_file_is_an_error_that_suggests_the_right_key() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(file.path(), format!("jwt_hs256_secret = '{SECRET}'\ndrain_dealy_s = 5\n")).unwrap();
    let path = file.path().to_str().unwrap();
    let expected = format!(
        "fanfare: the configuration can't be used: unknown key \"drain_dealy_s\" in {path}:2: did you mean \
         \"drain_delay_s\"?\n"
    );
    for args in [&["config", "check", "--config", path][..], &["serve", "--config", path]] {
        let said = fanfare(args, &[]);
        assert_eq!((said.code, said.err.as_str()), (1, expected.as_str()), "{args:?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_and_no_secret_is() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(file.path(), "drain_s = 'soon'\ncolour = 'red'\njwt_hs256_secret = 271828\n").unwrap();
    let path = file.path().to_str().unwrap();
    let variables =
        [("FANFARE_LISTEN", ":8080"), ("FANFARE_BACKPLANE", "http://me:hunter2@h"), ("FANFARE_API_KEYS", "hunter2")];
    let said = fanfare(&["config", "check", "--config", path, "--log-level", "loud"], &variables);
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("fanfare: the configuration can't be used, 8 problems:\n"), "{}", said.err);
    let expected = [
        format!("  unknown key \"colour\" in {path}:2: `fanfare serve --help` lists the settings"),
        format!("  drain_s = \"soon\" ({path}:1): not a whole number; give a whole number, 0 or more"),
        format!("  jwt_hs256_secret = [hidden] ({path}:3): not a list of texts; "),
        "  listen = \":8080\" (environment variable FANFARE_LISTEN): not an address; ".to_owned(),
        "  backplane = \"http://me:[hidden]@h\" (environment variable FANFARE_BACKPLANE): ".to_owned(),
        "  api_keys = [hidden] (environment variable FANFARE_API_KEYS): not name:key; ".to_owned(),
        "  log_level = \"loud\" (flag --log-level): not a log level; ".to_owned(),
        "  jwt_hs256_secret = \"\": no way to check tokens; ".to_owned(),
    ];
    for line in expected {
        assert!(said.err.contains(&line), "{line:?} is missing in {}", said.err);
    }
    for secret in ["hunter2", "271828"] {
        assert!(!said.err.contains(secret) && !said.out.contains(secret), "{}{}", said.out, said.err);
    }
}

#[test]
fn secrets_are_never_printed() {
    let variables = [
        ("FANFARE_JWT_HS256_SECRET", "kid:a:hunter2-hunter2-hunter2-hunter2-hunter2"),
        ("FANFARE_API_KEYS", "app:hunter2"),
        ("FANFARE_BACKPLANE", "redis://user:hunter2@localhost:6379"),
    ];
    let said = fanfare(&["config", "check"], &variables);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(!said.out.contains("hunter2") && !said.err.contains("hunter2"), "{}{}", said.out, said.err);
    assert_eq!(shown(&said.out, "jwt_hs256_secret").0, "[hidden]");
    assert_eq!(shown(&said.out, "api_keys").0, "[hidden]");
    assert_eq!(shown(&said.out, "backplane").0, "redis://user:[hidden]@localhost:6379");
}

#[test]
fn unknown_variables_and_weak_secrets_are_warnings() {
    let variables =
        [("FANFARE_JWT_HS256_SECRET", "weak"), ("FANFARE_DRIAN_S", "1"), ("FANFARE_SERVICE_HOST", "10.0.0.1")];
    let said = fanfare(&["config", "check"], &variables);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            0,
            "warning: the environment variable FANFARE_DRIAN_S is not known: did you mean FANFARE_DRAIN_S?\n\
             warning: jwt_hs256_secret has a secret of fewer than 32 bytes, which can be guessed: `openssl rand -base64 \
             48` makes a good one\n\
             the configuration can be used\n"
        )
    );
}

#[test]
fn files_that_can_not_be_used_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let pem = directory.path().join("key.pem");
    fs::write(&pem, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    let (pem, missing) = (pem.to_str().unwrap(), "/nowhere/file");
    let variables = [
        ("FANFARE_JWT_PUBLIC_KEY_FILE", pem),
        ("FANFARE_API_KEYS_FILE", missing),
        ("FANFARE_TLS_CERTIFICATE_FILE", missing),
        ("FANFARE_TLS_KEY_FILE", missing),
    ];
    let said = fanfare(&["config", "check"], &variables);
    assert_eq!(said.code, 1);
    assert!(said.err.contains(&format!("fanfare: {pem}: the key in line 1 is a private key: ")), "{}", said.err);
    assert!(said.err.contains(&format!("fanfare: {missing}: can't read {missing}: No such file")), "{}", said.err);
    assert_eq!(said.err.matches(&format!("fanfare: can't read {missing}: ")).count(), 2, "{}", said.err);
}

#[test]
fn rules_for_topics_are_counted_and_their_mistakes_told_by_number() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let path = file.path().to_str().unwrap();
    let check = |text: &str| {
        fs::write(file.path(), format!("jwt_hs256_secret = '{SECRET}'\n{text}")).unwrap();
        fanfare(&["config", "check", "--config", path], &[])
    };
    let said =
        check("topics = [{ pattern = 'channel:**', durable = 'never', ttl_ms = 60000 }, { pattern = 'user:*' }]");
    let warning = "warning: topics, rule 1: ttl_ms has no effect beside durable = \"never\"\n";
    assert_eq!((said.code, said.err), (0, format!("{warning}the configuration can be used\n")));
    assert_eq!(shown(&said.out, "topics"), ("2 rules", format!("{path}:2").as_str()));
    assert!(check("[[topics]]\npattern = 'tenant'\n").out.contains("  1 rule  "));

    let said = check(
        "durable_only = 'channel:a'\n[[topics]]\npattern = 'channel:**'\nmaxlen = 0\n\
         [[topics]]\npattern = 'channel:a'\nttl_s = 5\n[[topics]]\nmaxlen = 5\n",
    );
    let told = [
        format!("  unknown key \"durable_only\" in {path}:2: "),
        format!("  topics, rule 1, maxlen = \"0\" ({path}:3): too small; give a number from 1 to 999999999999999"),
        format!("  topics, rule 2, ttl_s = \"5\" ({path}:3): not a key of a rule; did you mean \"ttl_ms\"?"),
        format!("  topics, rule 2, pattern = \"channel:a\" ({path}:3): rule 1, \"channel:**\", takes all its topics; "),
        format!("  topics, rule 3, pattern = \"\" ({path}:3): missing; write topics with their kind, "),
    ];
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("fanfare: the configuration can't be used, 5 problems:\n"), "{}", said.err);
    for line in told {
        assert!(said.err.contains(&line), "{line:?} is missing in {}", said.err);
    }

    for (wrong, shown) in [("channel:a", "channel:a"), (r#"{"pattern":"channel:a"}"#, r#"{\"pattern\":\"channel:a\"}"#)]
    {
        let variables = [("FANFARE_JWT_HS256_SECRET", SECRET), ("FANFARE_TOPICS", wrong)];
        let said = fanfare(&["config", "check"], &variables);
        let told =
            format!("topics = \"{shown}\" (environment variable FANFARE_TOPICS): not a list of rules; give an array");
        assert_eq!(said.code, 1);
        assert!(said.err.contains(&told), "{told} is not in {}", said.err);
    }
    assert_eq!(fanfare(&["config", "check", "--topics", "channel:a"], &[("FANFARE_JWT_HS256_SECRET", SECRET)]).code, 2);
}

#[test]
fn a_node_without_keys_does_not_start_and_says_what_to_do() {
    let said = fanfare(&["serve"], &[]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("no way to check tokens; set it, or jwt_hs256_secret_file"), "{}", said.err);
    assert!(said.err.contains("or try `fanfare serve --dev`"), "{}", said.err);
}

#[test]
fn dev_refuses_to_listen_beyond_loopback() {
    let said = fanfare(&["serve", "--dev", "--listen", "0.0.0.0:0"], &[]);
    assert_eq!(said.code, 1);
    assert_eq!(
        said.err,
        "fanfare: the configuration can't be used: listen = \"0.0.0.0:0\" (flag --listen): --dev is open to everybody and \
         listens on loopback only; listen on 127.0.0.1, or serve without --dev and configure tokens\n"
    );
}

#[test]
fn a_flag_of_the_wrong_type_or_an_unknown_one_is_refused_by_name() {
    let said = fanfare(&["serve", "--drain-s", "soon"], &[]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("invalid value 'soon' for '--drain-s <SECONDS>'"), "{}", said.err);
    let said = fanfare(&["serve", "--drain-delay", "5"], &[]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("--drain-delay-s"), "{}", said.err);
}

#[test]
fn help_has_examples_and_hides_echo() {
    let said = fanfare(&["--help"], &[]);
    assert_eq!(said.code, 0);
    assert!(said.out.contains("fanfare serve --dev") && !said.out.contains("echo"), "{}", said.out);
    assert_eq!(fanfare(&[], &[]).code, 2);
    assert!(fanfare(&["publish", "--help"], &[]).out.contains("fanfare publish acme user:42 - <event.json"));
}

#[test]
fn log_lines_are_for_people_or_json_as_configured() {
    let variables = [("FANFARE_JWT_HS256_SECRET", SECRET), ("FANFARE_LISTEN", "127.0.0.1:0")];
    let args = ["serve", "--admin-listen", "127.0.0.1:0", "--log-format"];
    let human = start(&[&args[..], &["human"]].concat(), &variables).wait_for_line("serving clients");
    assert!(human.contains(" INFO ") && !human.contains('\u{1b}'), "{human}");
    let json = start(&[&args[..], &["json"]].concat(), &variables).wait_for_line("serving clients");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["level"], &json["message"]), (&"INFO".into(), &"serving clients".into()));
}
