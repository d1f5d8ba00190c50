//! Stories about `fanfare functions`.

use crate::fanfare::fanfare;
use crate::redis_server::RedisProcess;

#[test]
fn the_library_is_loaded_once_and_shown() {
    let redis = RedisProcess::start();
    let variables = [("FANFARE_BACKPLANE", &*redis.url())];
    let show = || {
        let said = fanfare(&["functions", "show"], &variables);
        assert_eq!(said.err, "");
        (said.code, said.out)
    };
    assert_eq!(show(), (1, "none is loaded; this build has version 2\n".to_owned()));
    for _ in 0..2 {
        let said = fanfare(&["functions", "load"], &variables);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "version 2 is loaded\n", ""));
    }
    assert_eq!(show(), (0, "version 2 is loaded; this build has version 2\n".to_owned()));
    let event = r#"{"type":"order.updated","data":{"id":7}}"#;
    let position = redis.command(&["FCALL", "fanfare_publish", "1", "fanfare:acme:channel:orders", event]);
    assert!(position.ends_with("-1"), "{position}");
}

/// Another library of the name, with nothing but a version.
fn library(version: u32) -> String {
    let function = format!(
        "redis.register_function{{function_name='fanfare_version',callback=function() return {version} end,flags={{'no-writes'}}}}"
    );
    format!("#!lua name=fanfare\n{function}")
}

#[test]
fn an_older_library_is_replaced_and_a_newer_one_stays() {
    let redis = RedisProcess::start();
    let variables = [("FANFARE_BACKPLANE", &*redis.url())];
    redis.command(&["FUNCTION", "LOAD", &library(0)]);
    let said = fanfare(&["functions", "show"], &variables);
    assert_eq!((said.code, said.out.as_str()), (1, "version 0 is loaded; this build has version 2\n"));
    assert_eq!(fanfare(&["functions", "load"], &variables).out, "version 2 is loaded\n");

    redis.command(&["FUNCTION", "LOAD", "REPLACE", &library(9)]);
    let said = fanfare(&["functions", "load"], &variables);
    let newer = "version 9 is loaded, which is newer than version 2 of this build and stays\n";
    assert_eq!((said.code, said.out.as_str()), (0, newer));
    let said = fanfare(&["functions", "show"], &variables);
    assert_eq!((said.code, said.out.as_str()), (0, "version 9 is loaded; this build has version 2\n"));
}

#[test]
fn what_is_in_the_way_is_told_with_its_fix() {
    let said = fanfare(&["functions", "load"], &[]);
    let memory = "functions are loaded into a Redis: give --backplane redis://host:port or FANFARE_BACKPLANE";
    assert_eq!((said.code, said.err.as_str()), (1, format!("fanfare: {memory}\n").as_str()));

    let redis = RedisProcess::start();
    let url = redis.url();
    let said = fanfare(&["functions", "load", "--backplane", &url, "--redis-scripting", "eval"], &[]);
    let eval =
        "redis_scripting = eval uses no functions, and nodes load the script by themselves: there is nothing to do";
    assert_eq!((said.code, said.err.as_str()), (1, format!("fanfare: {eval}\n").as_str()));

    redis.command(&["ACL", "SETUSER", "narrow", "on", ">hunter2", "~*", "&*", "+@all", "-function|load"]);
    let narrow = url.replace("redis://", "redis://narrow:hunter2@");
    let said = fanfare(&["functions", "load", "--backplane", &narrow], &[]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.starts_with("fanfare: the function library is not loaded: NOPERM"), "{}", said.err);
    assert!(said.err.contains("+function|load") && !said.err.contains("hunter2"), "{}", said.err);

    drop(redis);
    let said = fanfare(&["functions", "show", "--backplane", &url], &[]);
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with(&format!("fanfare: can't reach Redis: {url}: connection refused")), "{}", said.err);
}
