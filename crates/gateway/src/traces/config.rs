//! What the standard's variables say about traces
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>,
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>), checked once. Where the standard lets a program go on with
//! a default, a value that can't be used is refused here: nobody looks for traces in a log. Deliberately no setting of
//! Fanfare's own.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::sampler::{NAMES, Sampler};
use crate::config::Problem;

const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const COMPRESSION: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const TIMEOUT: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const CERTIFICATE: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];

/// Where traces go to, and which.
#[derive(Clone)]
pub struct TracesConfig {
    endpoint: Url,
    /// What every export has. The values may be secrets.
    pub(super) headers: HeaderMap,
    /// Of a certificate authority, in PEM.
    pub certificate_file: Option<PathBuf>,
    /// For one batch to be taken.
    pub(super) export_timeout: Duration,
    /// Which traces are recorded.
    pub(super) sampler: Sampler,
    /// What every span comes from: names and values.
    pub(super) resource: BTreeMap<String, String>,
    /// Spans that may wait.
    pub(super) queue_spans_max: usize,
    /// Spans in one request to the collector.
    pub(super) batch_spans_max: usize,
    /// How long a span may wait for others.
    pub(super) batch_delay: Duration,
}

impl TracesConfig {
    /// Reads the variables whose names begin with `OTEL_`. An empty one counts as unset. None: nothing is traced.
    ///
    /// # Errors
    /// All values that can't be used.
    pub fn from_variables(variables: &BTreeMap<String, String>) -> Result<Option<Self>, Vec<Problem>> {
        let mut read = Reader { variables, problems: Vec::new() };
        let is_disabled =
            read.text(&["OTEL_SDK_DISABLED"]).is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
        let has_exporter = read.choice(&["OTEL_TRACES_EXPORTER"], &["otlp", "none"]) != Some("none");
        if is_disabled || !has_exporter {
            return read.end(None);
        }
        let Some(endpoint) = read.endpoint() else { return read.end(None) };
        read.choice(&PROTOCOL, &["http/protobuf"]);
        read.choice(&COMPRESSION, &["none"]);
        let ms = |read: &mut Reader<'_>, names: &[&'static str], default, range| {
            Duration::from_millis(read.number(names, default, range))
        };
        let queue_spans_max = read.count("OTEL_BSP_MAX_QUEUE_SIZE", 2_048, 1_000_000);
        let config = Self {
            endpoint,
            headers: read.headers(),
            certificate_file: read.text(&CERTIFICATE).map(|(_, path)| path.into()),
            export_timeout: ms(&mut read, &TIMEOUT, 10_000, 1..=3_600_000).min(ms(
                &mut read,
                &["OTEL_BSP_EXPORT_TIMEOUT"],
                30_000,
                1..=3_600_000,
            )),
            sampler: read.sampler(),
            resource: read.resource(),
            queue_spans_max,
            batch_spans_max: read.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", queue_spans_max.min(512), queue_spans_max),
            batch_delay: ms(&mut read, &["OTEL_BSP_SCHEDULE_DELAY"], 5_000, 0..=3_600_000),
        };
        read.end(Some(config))
    }

    pub(super) fn endpoint(&self) -> &str {
        self.endpoint.as_str()
    }

    /// Without what may be a secret.
    pub(super) fn endpoint_printed(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        let port = self.endpoint.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}{}", self.endpoint.scheme(), self.endpoint.path())
    }
}

impl fmt::Debug for TracesConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint_printed();
        f.debug_struct("TracesConfig")
            .field("endpoint", &endpoint)
            .field("sampler", &self.sampler)
            .finish_non_exhaustive()
    }
}

/// Reads variables, and keeps what is wrong with them.
struct Reader<'a> {
    variables: &'a BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn end<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() { Ok(value) } else { Err(self.problems) }
    }

    /// The first of these that says something.
    fn text(&self, names: &[&'static str]) -> Option<(&'static str, &'a str)> {
        let said = |name: &&'static str| Some((*name, self.variables.get(*name)?.trim()));
        names.iter().filter_map(said).find(|(_, value)| !value.is_empty())
    }

    fn wrong(&mut self, name: &str, value: &str, wrong: &str, fix: &str) {
        self.problems.push(Problem::setting(name, value, wrong, fix));
    }

    /// One of a few words, in any case of letters.
    fn choice(&mut self, names: &[&'static str], allowed: &[&'static str]) -> Option<&'static str> {
        let (name, value) = self.text(names)?;
        let found = allowed.iter().copied().find(|word| word.eq_ignore_ascii_case(value));
        if found.is_none() {
            self.wrong(name, value, "not supported", &format!("allowed: {}", allowed.join(", ")));
        }
        found
    }

    fn number(&mut self, names: &[&'static str], default: u64, range: RangeInclusive<u64>) -> u64 {
        let Some((name, value)) = self.text(names) else { return default };
        let number = value.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let fix = format!("give a number from {} to {}", range.start(), range.end());
            self.wrong(name, value, "not a number that can be used", &fix);
        }
        number.unwrap_or(default)
    }

    fn count(&mut self, name: &'static str, default: usize, max: usize) -> usize {
        usize::try_from(self.number(&[name], default as u64, 1..=max as u64)).unwrap_or(default)
    }

    /// A general endpoint is a base to which the signal's path is added; the one for traces is taken as it is.
    fn endpoint(&mut self) -> Option<Url> {
        let (name, value) = self.text(&ENDPOINT)?;
        let whole =
            if name == ENDPOINT[0] { value.to_owned() } else { format!("{}/v1/traces", value.trim_end_matches('/')) };
        let url = Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            // Somebody may have written a password into it.
            let value = if value.contains('@') { "[hidden]" } else { value };
            self.wrong(name, value, "not an address", "give a URL that begins with http:// or https://");
        }
        if url.as_ref().is_some_and(|url| !url.username().is_empty() || url.password().is_some()) {
            let fix = format!("give them as a header: {} = \"authorization=Basic%20…\"", HEADERS[1]);
            self.wrong(name, "[hidden]", "a user and a password in an address are not sent", &fix);
        }
        url
    }

    fn sampler(&mut self) -> Sampler {
        const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
        let Some(name) = self.choice(&["OTEL_TRACES_SAMPLER"], &NAMES) else { return Sampler::default() };
        let mut ratio = 1.0;
        if let Some((argument, value)) = self.text(&[ARGUMENT]).filter(|_| name.ends_with("traceidratio")) {
            match value.parse() {
                Ok(number) if (0.0..=1.0).contains(&number) => ratio = number,
                _ => self.wrong(argument, value, "not a ratio", "give a number from 0 to 1, such as 0.01"),
            }
        }
        Sampler::named(name, ratio).unwrap_or_default()
    }

    /// `name=value,…`, values percent-encoded. No value is printed: it may be a secret.
    fn pairs(&mut self, names: &[&'static str]) -> BTreeMap<String, String> {
        let Some((name, value)) = self.text(names) else { return BTreeMap::new() };
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            (!key.trim().is_empty()).then(|| (key.trim().to_owned(), value.into_owned()))
        };
        let pairs: Option<_> = value.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect();
        if pairs.is_none() {
            self.wrong(name, "[hidden]", "not a list of pairs", "give name=value,name=value, values percent-encoded");
        }
        pairs.unwrap_or_default()
    }

    /// What isn't sent because it is no header would be missed at the collector only.
    fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (key, value) in self.pairs(&HEADERS) {
            if let (Ok(key), Ok(mut value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
                value.set_sensitive(true);
                headers.insert(key, value);
            } else {
                let name = self.text(&HEADERS).map_or(HEADERS[1], |(name, _)| name);
                self.wrong(name, "[hidden]", "has a pair that is no header", "give header names and plain text");
            }
        }
        headers
    }

    fn resource(&mut self) -> BTreeMap<String, String> {
        let mut resource = self.pairs(&["OTEL_RESOURCE_ATTRIBUTES"]);
        if let Some((_, name)) = self.text(&["OTEL_SERVICE_NAME"]) {
            resource.insert("service.name".to_owned(), name.to_owned());
        }
        resource
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TracesConfig>, Vec<Problem>> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        TracesConfig::from_variables(&variables)
    }

    fn with_endpoint(variables: &[(&str, &str)]) -> Result<TracesConfig, Vec<Problem>> {
        read(&[&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")], variables].concat()).map(Option::unwrap)
    }

    #[test]
    fn without_an_endpoint_or_when_switched_off_nothing_is_traced() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        for variables in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[("OTEL_TRACES_SAMPLER", "always_on"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            &[endpoint, ("OTEL_SDK_DISABLED", "True")],
            &[endpoint, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert!(read(variables).unwrap().is_none(), "{variables:?}");
        }
        assert!(read(&[endpoint, ("OTEL_SDK_DISABLED", "no"), ("OTEL_TRACES_EXPORTER", "otlp")]).unwrap().is_some());
    }

    #[test]
    fn the_standards_defaults_hold() {
        let config = with_endpoint(&[]).unwrap();
        assert_eq!(config.endpoint(), "http://c:4318/v1/traces");
        assert_eq!((config.queue_spans_max, config.batch_spans_max), (2_048, 512));
        assert_eq!((config.batch_delay, config.export_timeout), (Duration::from_secs(5), Duration::from_secs(10)));
        assert_eq!((config.sampler, config.resource.len()), (Sampler::default(), 0));
    }

    #[test]
    fn what_is_for_traces_comes_before_what_is_for_all_signals() {
        let config = with_endpoint(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/x?key=hunter2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "70"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "50"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20hunter2, x = y,"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=a%2Cb"),
            ("OTEL_SERVICE_NAME", "mine"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ])
        .unwrap();
        assert_eq!(config.endpoint(), "https://traces/x?key=hunter2");
        assert_eq!(config.export_timeout, Duration::from_millis(50));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert!(config.headers["authorization"] == "Basic hunter2" && config.headers["x"] == "y");
        let resource = [pair("service.name", "mine"), pair("deployment.environment.name", "a,b")].into();
        assert_eq!(config.resource, resource);
        assert_eq!((config.queue_spans_max, config.batch_spans_max), (100, 100));
        assert!(!format!("{config:?} {}", config.endpoint_printed()).contains("hunter2"));
    }

    #[test]
    fn a_wrong_value_is_told_by_its_variable_and_what_is_allowed() {
        for (name, value, fix) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "allowed: http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "allowed: http/protobuf"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "allowed: none"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "allowed: otlp, none"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote", "always_on, always_off, traceidratio, parentbased_always_on"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318", "http://"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "from 1 to 1000000"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2049", "from 1 to 2048"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1", "from 0 to"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "from 1 to"),
        ] {
            let problems = with_endpoint(&[(name, value)]).unwrap_err();
            let text = problems[0].to_string();
            assert!(problems.len() == 1 && text.starts_with(name) && text.contains(fix), "{text}");
        }
        let problems = with_endpoint(&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "1.5")]);
        assert!(problems.unwrap_err()[0].to_string().contains("from 0 to 1"));
        for (name, value, fix) in [
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "give name=value"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "ok=1,bad name=hunter2", "give header names"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=hunter2%0A", "give header names"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://user:hunter2@c", "http://"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:hunter2@c", "OTEL_EXPORTER_OTLP_HEADERS = "),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://hunter2@c", "OTEL_EXPORTER_OTLP_HEADERS = "),
        ] {
            let problems = with_endpoint(&[(name, value)]).unwrap_err();
            let text = problems[0].to_string();
            let is_told = problems.len() == 1 && text.starts_with(name) && text.contains(fix);
            assert!(is_told && !text.contains("hunter2"), "{text}");
        }
    }
}
