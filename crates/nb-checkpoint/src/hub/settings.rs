//! The environment variables of the Hugging Face hub, read as `huggingface_hub` 2.4 reads them (`constants.py`,
//! `utils/_auth.py`).
//!
//! | variable | meaning |
//! | --- | --- |
//! | `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `$HF_HOME/hub` | the cache |
//! | `HF_HOME`, else `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface` | cache and token |
//! | `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH`, else `$HF_HOME/token` | the token |
//! | `HF_HUB_DISABLE_IMPLICIT_TOKEN` | sends no token |
//! | `HF_ENDPOINT`, else `https://huggingface.co` | the hub |
//! | `HF_HUB_OFFLINE`, or `TRANSFORMERS_OFFLINE` if it is unset or empty | sends no request |
//!
//! A switch is on if its value is `1`, `on`, `yes` or `true`, in upper or lower case. In paths, `~`, `~user`, `$NAME`
//! and `${NAME}` are expanded as in Python's `expanduser` and `expandvars`.

use std::path::PathBuf;

/// The hub, unless `HF_ENDPOINT` names another.
const PUBLIC_HUB: &str = "https://huggingface.co";

/// The environment of a process, as closures, so that tests need not change their own.
pub(super) struct Environment<'a> {
    /// Returns an environment variable.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    /// Returns the home folder of a user from the system's user database; `None` stands for the user of the process.
    pub(super) home: &'a dyn Fn(Option<&str>) -> Option<String>,
}

/// The settings of the hub.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The hub's address, without a trailing slash.
    pub(super) endpoint: String,
    /// The folder of cached repositories.
    pub(super) cache: PathBuf,
    /// The variable that disables requests, if any.
    pub(super) offline: Option<&'static str>,
    /// The source of the token.
    pub(super) token: TokenSource,
}

/// The source of the token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TokenSource {
    /// No token is sent.
    None,
    /// The value of a variable.
    Variable(Token),
    /// A file, which need not exist.
    File(PathBuf),
}

/// A token, which never appears in a message.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Returns the token in `text` without line breaks and surrounding white space; `None` if nothing is left.
    fn new(text: &str) -> Option<Self> {
        let text = text.replace(['\r', '\n'], "");
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// Returns the value of the header `Authorization`.
    ///
    /// # Errors
    /// A message, if the token has characters that are not allowed in a header.
    pub(super) fn header(&self) -> Result<String, String> {
        if self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(format!("Bearer {}", self.0));
        }
        Err("the token contains a space, a control character or a non-ASCII character; check HF_TOKEN".to_owned())
    }
}

impl TokenSource {
    /// Returns the token, if there is one.
    pub(super) fn token(&self) -> Option<Token> {
        let path = match self {
            Self::None => return None,
            Self::Variable(token) => return Some(token.clone()),
            Self::File(path) => path,
        };
        match std::fs::read_to_string(path) {
            Ok(text) => Token::new(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("cannot read the hub's token {}: {error}; no token is sent", path.display());
                None
            }
        }
    }
}

impl Settings {
    /// Returns the settings of this process.
    pub(super) fn from_env() -> Self {
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let environment = Environment { variable: &variable, home: &home_of };
        Self::read(&environment)
    }

    /// Returns the settings in an environment.
    pub(super) fn read(environment: &Environment<'_>) -> Self {
        let variable = environment.variable;
        let default_cache = join(&environment.expand_user("~"), ".cache");
        let default_home = join(&variable("XDG_CACHE_HOME").unwrap_or(default_cache), "huggingface");
        let home = environment.expand(&variable("HF_HOME").unwrap_or(default_home));
        let cache = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
        let cache = environment.expand(&cache.unwrap_or_else(|| join(&home, "hub")));
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| PUBLIC_HUB.to_owned());
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache: cache.into(),
            offline: environment.offline(),
            token: environment.token(&home),
        }
    }
}

impl Environment<'_> {
    /// Returns the value of a variable, unless it is empty.
    fn filled(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn is_on(&self, name: &str) -> bool {
        let value = (self.variable)(name).unwrap_or_default().to_uppercase();
        ["1", "ON", "YES", "TRUE"].contains(&value.as_str())
    }

    fn offline(&self) -> Option<&'static str> {
        let names = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];
        names.into_iter().find(|name| self.filled(name).is_some()).filter(|name| self.is_on(name))
    }

    fn token(&self, home: &str) -> TokenSource {
        if self.is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return TokenSource::None;
        }
        let token = self.filled("HF_TOKEN").or_else(|| self.filled("HUGGING_FACE_HUB_TOKEN"));
        if let Some(token) = token.and_then(|text| Token::new(&text)) {
            return TokenSource::Variable(token);
        }
        let path = (self.variable)("HF_TOKEN_PATH").unwrap_or_else(|| join(home, "token"));
        TokenSource::File(self.expand(&path).into())
    }

    fn expand(&self, path: &str) -> String {
        self.expand_variables(&self.expand_user(path))
    }

    /// Expands `~` or `~user` at the beginning of a path, if the home folder is known.
    fn expand_user(&self, path: &str) -> String {
        let Some(rest) = path.strip_prefix('~') else { return path.to_owned() };
        let (user, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let home = match user {
            "" => (self.variable)("HOME").or_else(|| (self.home)(None)),
            user => (self.home)(Some(user)),
        };
        let Some(home) = home else { return path.to_owned() };
        let expanded = format!("{}{rest}", home.trim_end_matches('/'));
        if expanded.is_empty() { "/".to_owned() } else { expanded }
    }

    /// Expands `$NAME` and `${NAME}`. References to unset variables remain, and values are not expanded again.
    fn expand_variables(&self, path: &str) -> String {
        let mut out = String::with_capacity(path.len());
        let mut rest = path;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let (name, reference) = reference(rest);
            match name.and_then(self.variable) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&rest[..reference]),
            }
            rest = &rest[reference..];
        }
        out + rest
    }
}

/// Returns the name in `$NAME` or `${NAME}` at the beginning of `text`, and the length of the reference in bytes.
/// Without a name, returns `None` and the length of the dollar sign.
fn reference(text: &str) -> (Option<&str>, usize) {
    let rest = &text[1..];
    if let Some(braced) = rest.strip_prefix('{') {
        return braced.find('}').map_or((None, 1), |end| (Some(&braced[..end]), end + 3));
    }
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    if end == 0 { (None, 1) } else { (Some(&rest[..end]), end + 1) }
}

/// Joins paths as Python's `os.path.join` does on POSIX, for a relative second part.
fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() || folder.ends_with('/') { format!("{folder}{name}") } else { format!("{folder}/{name}") }
}

/// Returns the home folder of the process's user, or of another user listed in `/etc/passwd`.
fn home_of(user: Option<&str>) -> Option<String> {
    let Some(user) = user else {
        return std::env::home_dir().map(|home| home.to_string_lossy().into_owned());
    };
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == user)?;
    fields.get(5).map(|&home| home.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    /// A case of `hub_settings.json`, which `hub_settings.py` in the same folder generates with `huggingface_hub`.
    #[derive(Deserialize)]
    struct Case {
        environment: BTreeMap<String, String>,
        cache: String,
        endpoint: String,
        offline: bool,
        token: Option<String>,
        token_path: String,
    }

    #[test]
    fn variables_are_read_as_in_huggingface_hub() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/golden/hub_settings.json")).unwrap();
        assert!(cases.len() > 40, "{} cases", cases.len());
        for case in cases {
            let variable = |name: &str| case.environment.get(name).cloned();
            let home = |user: Option<&str>| user.is_none_or(|user| user == "me").then(|| "/users/me".to_owned());
            let found = Settings::read(&Environment { variable: &variable, home: &home });
            let token = match case.token {
                // A missing file gives no token either.
                None if found.token == TokenSource::None => TokenSource::None,
                None => TokenSource::File(case.token_path.into()),
                Some(token) => TokenSource::Variable(Token(token)),
            };
            let offline = found.offline;
            assert_eq!(offline.is_some(), case.offline, "{:?}", case.environment);
            let expected = Settings { endpoint: case.endpoint, cache: case.cache.into(), offline, token };
            assert_eq!(found, expected, "{:?}", case.environment);
        }
    }

    #[test]
    fn a_token_appears_in_no_message() {
        let token = Token::new(" hf_secret\n").unwrap();
        assert_eq!(token.header().unwrap(), "Bearer hf_secret");
        assert!(!format!("{token:?} {:?}", TokenSource::Variable(token.clone())).contains("secret"));
        let error = Token::new("hf_sécret").unwrap().header().unwrap_err();
        assert!(error.contains("HF_TOKEN") && !error.contains("cret"), "{error}");
        assert_eq!((Token::new(" \r\n"), Token::new("a\nb")), (None, Some(Token("ab".to_owned()))));
    }

    #[test]
    fn a_token_file_is_read_if_it_exists() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert_eq!(TokenSource::File(path.clone()).token(), None);
        std::fs::write(&path, "hf_secret\n").unwrap();
        assert_eq!(TokenSource::File(path).token(), Token::new("hf_secret"));
        assert_eq!(TokenSource::File(folder.path().to_owned()).token(), None);
    }
}
