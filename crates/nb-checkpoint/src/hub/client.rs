//! Requests to the hub: a file's commit, hash and size, and its content.
//!
//! The token is sent to the origin of the endpoint (scheme, host and port) and nowhere else. The hub usually redirects
//! requests for content to another host. Redirects are therefore followed here one by one, and only requests to that
//! origin carry the token.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use ureq::http::header::{AUTHORIZATION, ETAG, LOCATION, RANGE};
use ureq::http::{Request, Response, StatusCode, Uri, request};
use ureq::{Agent, Body};

use super::settings::Settings;
use crate::files::is_plain_name;

/// The time limit for a response of the hub, and for each part of it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of redirects, more than any hub needs.
const MAX_REDIRECTS: usize = 8;

/// The hub's description of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Its commit.
    pub(super) commit: String,
    /// The hash of its content, which names its blob in the cache.
    pub(super) etag: String,
    /// Its size in bytes, if the hub reports it.
    size: Option<u64>,
    /// The address of its content.
    url: Uri,
}

/// A client of the hub. It is not `Debug`, because it holds the token.
pub(super) struct Client {
    agent: Agent,
    endpoint: Uri,
    authorization: Option<String>,
}

/// The redirects to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// Redirects within the endpoint's origin, such as those of renamed repositories.
    SameOrigin,
    /// All redirects.
    All,
}

/// A response and the address that sent it.
struct Located {
    response: Response<Body>,
    url: Uri,
}

impl Client {
    /// Returns a client with these settings. Sends no request.
    ///
    /// # Errors
    /// A message, if the endpoint is not an address or the token cannot be sent.
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let found = &settings.endpoint;
        // An address may contain a password, which must not appear in a message.
        let named = found.rsplit_once('@').map_or(found.as_str(), |(_, host)| host);
        let endpoint: Uri = found.parse().map_err(|error| format!("HF_ENDPOINT is `{named}`: {error}"))?;
        if endpoint.scheme().is_none() || endpoint.host().is_none() {
            return Err(format!("HF_ENDPOINT is `{named}`, expected an address such as https://huggingface.co"));
        }
        let authorization = settings.token.token().map(|token| token.header()).transpose()?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(TIMEOUT))
            .timeout_connect(Some(TIMEOUT))
            .timeout_recv_response(Some(TIMEOUT))
            .timeout_per_read(Some(TIMEOUT))
            .user_agent(concat!("newsbert/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Self { agent, endpoint, authorization })
    }

    /// Looks up a file of a repository at a branch, tag or commit. Returns `None` if the repository has no such file.
    ///
    /// # Errors
    /// A message, if there is no response or if the response is not from a hub.
    pub(super) fn look_up(&self, repository: &str, revision: &str, file: &str) -> Result<Option<RemoteFile>, String> {
        let endpoint = self.endpoint.to_string();
        // The revision is one part of the path, even if it contains slashes.
        let revision = revision.replace('/', "%2F");
        let url = format!("{}/{repository}/resolve/{revision}/{file}", endpoint.trim_end_matches('/'));
        let url: Uri = url.parse().map_err(|error| format!("{}/{repository}: {error}", redacted(&self.endpoint)))?;
        let Located { response, url } = self.send(url, Follow::SameOrigin, |url| Request::head(url))?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() && !status.is_redirection() {
            return Err(self.status_error(&url, status));
        }
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let named = |name: &str, value: Option<&str>| {
            let value = value.map(|value| value.trim_start_matches("W/").trim_matches('"')).unwrap_or_default();
            let valid = is_plain_name(value).then(|| value.to_owned());
            valid.ok_or_else(|| {
                format!("{}: header {name} is `{value}`; is HF_ENDPOINT a Hugging Face hub?", redacted(&url))
            })
        };
        let commit = named("x-repo-commit", header("x-repo-commit"))?;
        let etag = named("etag", header("x-linked-etag").or_else(|| header(ETAG.as_str())))?;
        let length = if status.is_redirection() { None } else { header("content-length") };
        let size = header("x-linked-size").or(length).and_then(|size| size.parse().ok());
        let url = redirect(&url, &response)?.unwrap_or(url);
        Ok(Some(RemoteFile { commit, etag, size, url }))
    }

    /// Downloads a file's content to `blob`, unless it exists. Resumes an interrupted download.
    ///
    /// # Errors
    /// A message, if the content does not arrive, differs in size from the announcement, or cannot be written.
    pub(super) fn download(&self, file: &RemoteFile, name: &str, blob: &Path) -> Result<(), String> {
        if blob.exists() {
            return Ok(());
        }
        let partial = blob.with_file_name(format!("{}.nb-part", file.etag));
        let cannot = |error: io::Error| format!("cannot write {}: {error}", partial.display());
        if let Some(folder) = blob.parent() {
            fs::create_dir_all(folder).map_err(cannot)?;
        }
        let mut part = File::options().append(true).create(true).open(&partial).map_err(cannot)?;
        // If several processes need the file, one downloads it while the others wait for the lock.
        part.lock().map_err(cannot)?;
        if blob.exists() {
            // This file was created after another process had renamed its own, so it is empty.
            let _ = fs::remove_file(&partial);
            return Ok(());
        }
        let got = self.resume_download(file, name, &mut part)?;
        if let Some(size) = file.size.filter(|&size| size != got) {
            // A file that is too long cannot be resumed.
            let _ = if got > size { part.set_len(0) } else { Ok(()) };
            return Err(format!("{name}: received {got} bytes, expected {size}"));
        }
        part.sync_all().and_then(|()| fs::rename(&partial, blob)).map_err(cannot)
    }

    /// Appends the missing bytes and returns the length of the file.
    fn resume_download(&self, file: &RemoteFile, name: &str, part: &mut File) -> Result<u64, String> {
        let cannot = |error: io::Error| format!("cannot write {name}: {error}");
        let mut start = part.seek(SeekFrom::End(0)).map_err(cannot)?;
        if start > 0 && Some(start) == file.size {
            return Ok(start);
        }
        let Located { response, url } = self.send(file.url.clone(), Follow::All, |url| match start {
            0 => Request::get(url),
            start => Request::get(url).header(RANGE, format!("bytes={start}-")),
        })?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            // The server ignores ranges and sends the whole file.
            StatusCode::OK => {
                part.set_len(0).map_err(cannot)?;
                start = 0;
            }
            status => {
                part.set_len(0).map_err(cannot)?;
                return Err(self.status_error(&url, status));
            }
        }
        let bar = progress(name, start, file.size);
        let mut body = response.into_body().into_reader();
        let copied = io::copy(&mut body, &mut bar.wrap_write(&mut *part));
        bar.finish_and_clear();
        let copied = copied.map_err(|error| format!("{name} from {}: {error}", redacted(&url)))?;
        part.flush().map_err(cannot)?;
        Ok(start + copied)
    }

    /// Sends a request and follows redirects.
    fn send(
        &self,
        mut url: Uri,
        follow: Follow,
        request: impl Fn(&Uri) -> request::Builder,
    ) -> Result<Located, String> {
        let is_within = |url: &Uri| origin(url) == origin(&self.endpoint);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = request(&url);
            if let Some(authorization) = self.authorization.as_ref().filter(|_| is_within(&url)) {
                request = request.header(AUTHORIZATION, authorization);
            }
            let request = request.body(()).map_err(|error| format!("{}: {error}", redacted(&url)))?;
            let response = self.agent.run(request).map_err(|error| request_error(&url, &error))?;
            match redirect(&url, &response)? {
                Some(next) if follow == Follow::All || is_within(&next) => url = next,
                _ => return Ok(Located { response, url }),
            }
        }
        Err(format!("{}: more than {MAX_REDIRECTS} redirects", redacted(&url)))
    }

    fn status_error(&self, url: &Uri, status: StatusCode) -> String {
        let remedy = match (status.as_u16(), &self.authorization) {
            (401 | 403, None) => "; the repository does not exist, or is private or gated: set HF_TOKEN",
            (401 | 403, Some(_)) => "; the repository does not exist, or the token does not grant access to it",
            _ => "",
        };
        format!("{} returned {status}{remedy}", redacted(url))
    }
}

/// Returns the address to which a response redirects, or `None` if it does not redirect.
fn redirect(url: &Uri, response: &Response<Body>) -> Result<Option<Uri>, String> {
    let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
    let Some(location) = location else { return Ok(None) };
    let found = location.to_str().unwrap_or_default();
    let (scheme, authority) = (url.scheme_str().unwrap_or_default(), url.authority().map_or("", |it| it.as_str()));
    let absolute = if found.starts_with("//") {
        format!("{scheme}:{found}")
    } else if found.starts_with('/') {
        format!("{scheme}://{authority}{found}")
    } else {
        found.to_owned()
    };
    match absolute.parse::<Uri>() {
        Ok(next) if next.host().is_some() && matches!(next.scheme_str(), Some("http" | "https")) => Ok(Some(next)),
        _ => Err(format!("{}: redirects to `{found}`, expected an address", redacted(url))),
    }
}

/// The scheme, host and port of an address.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

/// Returns the origin of an address, if it names a host.
fn origin(url: &Uri) -> Option<Origin> {
    let scheme = url.scheme_str()?.to_ascii_lowercase();
    let port = url.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some(Origin { scheme, host: url.host()?.to_ascii_lowercase(), port })
}

/// Returns an address for messages, without the query, which may contain a signature.
fn redacted(url: &Uri) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme_str().unwrap_or_default(), url.host().unwrap_or_default(), url.path())
}

fn request_error(url: &Uri, error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("{}: no answer within {} seconds", redacted(url), TIMEOUT.as_secs()),
        error => format!("{}: {error}", redacted(url)),
    }
}

fn progress(name: &str, start: u64, size: Option<u64>) -> ProgressBar {
    let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(name.to_owned());
    bar.set_position(start);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect_to(location: &str) -> Response<Body> {
        let body = Body::builder().data("");
        Response::builder().status(302).header(LOCATION, location).body(body).unwrap()
    }

    #[test]
    fn redirect_targets_are_resolved() {
        let url: Uri = "https://hub.example:8080/a/b?c".parse().unwrap();
        for (location, expected) in [
            ("/d?e=f", "https://hub.example:8080/d?e=f"),
            ("//cdn.example/d", "https://cdn.example/d"),
            ("http://cdn.example/d", "http://cdn.example/d"),
        ] {
            assert_eq!(redirect(&url, &redirect_to(location)).unwrap().unwrap(), expected);
        }
        for location in ["ftp://a/b", "relative", ""] {
            assert!(redirect(&url, &redirect_to(location)).unwrap_err().contains("expected an address"), "{location}");
        }
        let body = Body::builder().data("");
        let plain = Response::builder().status(200).header(LOCATION, "/d").body(body).unwrap();
        assert_eq!(redirect(&url, &plain).unwrap(), None);
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin_of = |url: &str| origin(&url.parse().unwrap());
        assert_eq!(origin_of("https://Hub.example/a"), origin_of("https://hub.example:443/b?c"));
        for other in
            ["http://hub.example", "https://hub.example:444", "https://hub.example.org", "https://cdn.hub.example"]
        {
            assert_ne!(origin_of(other), origin_of("https://hub.example"), "{other}");
        }
        assert_eq!(redacted(&"https://cdn.example/a?signature=secret".parse().unwrap()), "https://cdn.example/a");
    }
}
