//! A [`Hub`] from the environment, following the rules of Hugging Face's own tools (`constants.py` of huggingface_hub).

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::{Hub, HubError};

/// Variables that Hugging Face's tools respect and that would change the behavior here.
const NOT_FOLLOWED: [&str; 5] = [
    "HF_HUB_DISABLE_SYMLINKS",
    "HF_HUB_DOWNLOAD_TIMEOUT",
    "HF_HUB_ETAG_TIMEOUT",
    "HF_OIDC_RESOURCE",
    "HUGGINGFACE_CO_STAGING",
];

impl Hub {
    /// The Hub that the environment describes:
    ///
    /// - `HF_ENDPOINT`: its URL, else `https://huggingface.co`;
    /// - `HF_HUB_CACHE` or `HUGGINGFACE_HUB_CACHE`: the cache, else `hub` in `HF_HOME`, else in `huggingface` in
    ///   `XDG_CACHE_HOME` or `~/.cache`;
    /// - `HF_TOKEN` or `HUGGING_FACE_HUB_TOKEN`: the access token, else the file `HF_TOKEN_PATH`, else the file
    ///   `token` in `HF_HOME` that `hf auth login` writes; none with `HF_HUB_DISABLE_IMPLICIT_TOKEN`;
    /// - `HF_HUB_OFFLINE`, or `TRANSFORMERS_OFFLINE` in its absence, or `HF_DATASETS_OFFLINE`: `1`, `true`, `yes`
    ///   or `on` to use only the cache.
    ///
    /// In paths, `~`, `$NAME` and `${NAME}` are expanded. Known variables that have no effect here are logged.
    ///
    /// # Errors
    ///
    /// [`HubError::Home`] if nothing says where to put the cache, [`HubError::Variable`] if a variable is not text
    /// or its path starts with another user's home.
    pub fn from_env() -> Result<Self, HubError> {
        Environment { var: &|name| std::env::var_os(name), home: std::env::home_dir() }.hub()
    }
}

struct Environment<'a> {
    var: &'a dyn Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
}

impl Environment<'_> {
    fn hub(&self) -> Result<Hub, HubError> {
        let hf_home = self.hf_home()?;
        let cache = self.path(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])?;
        let cache = cache.or_else(|| Some(hf_home.as_ref()?.join("hub"))).ok_or(HubError::Home)?;
        let mut hub = Hub::new(cache).with_offline(self.is_offline()?);
        if let Some(endpoint) = self.text("HF_ENDPOINT")? {
            hub = hub.with_endpoint(endpoint);
        }
        if let Some(token) = self.token(hf_home.as_deref())? {
            hub = hub.with_token(token);
        }
        let is_set = |name: &&str| (self.var)(name).is_some_and(|value| !value.is_empty() && value != "0");
        for name in NOT_FOLLOWED.iter().filter(|name| is_set(name)) {
            tracing::warn!("the environment variable {name} is set, and not followed here");
        }
        Ok(hub)
    }

    fn hf_home(&self) -> Result<Option<PathBuf>, HubError> {
        if let Some(home) = self.path(&["HF_HOME"])? {
            return Ok(Some(home));
        }
        let cache = self.path(&["XDG_CACHE_HOME"])?.or_else(|| Some(self.home.as_ref()?.join(".cache")));
        Ok(cache.map(|cache| cache.join("huggingface")))
    }

    fn is_offline(&self) -> Result<bool, HubError> {
        let name =
            if self.text("HF_HUB_OFFLINE")?.is_some() { "HF_HUB_OFFLINE" } else { "TRANSFORMERS_OFFLINE" };
        Ok(self.flag(name)? || self.flag("HF_DATASETS_OFFLINE")?)
    }

    fn token(&self, hf_home: Option<&Path>) -> Result<Option<String>, HubError> {
        let mut token = self.text("HF_TOKEN")?;
        if token.is_none() {
            token = self.text("HUGGING_FACE_HUB_TOKEN")?;
        }
        if token.is_none() {
            let file = self.path(&["HF_TOKEN_PATH"])?.or_else(|| Some(hf_home?.join("token")));
            token = file.and_then(|file| read_token(&file));
        }
        if token.is_some() && self.flag("HF_HUB_DISABLE_IMPLICIT_TOKEN")? {
            tracing::warn!("the access token is not sent, because of HF_HUB_DISABLE_IMPLICIT_TOKEN");
            token = None;
        }
        Ok(token)
    }

    /// A variable; a blank one counts as absent.
    fn text(&self, name: &'static str) -> Result<Option<String>, HubError> {
        let value = (self.var)(name).map(OsString::into_string).transpose();
        let value = value
            .map_err(|_| HubError::Variable { name, reason: "is not valid UTF-8; set it anew".to_owned() })?;
        Ok(value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()))
    }

    fn flag(&self, name: &'static str) -> Result<bool, HubError> {
        let Some(value) = self.text(name)? else { return Ok(false) };
        match value.to_uppercase().as_str() {
            "1" | "ON" | "YES" | "TRUE" => return Ok(true),
            "0" | "OFF" | "NO" | "FALSE" => {}
            _ => tracing::warn!("{name}={value} is neither yes (1, ON, YES, TRUE) nor no, and counts as no"),
        }
        Ok(false)
    }

    /// The first of these variables that is set, as a path.
    fn path(&self, names: &[&'static str]) -> Result<Option<PathBuf>, HubError> {
        for &name in names {
            if let Some(value) = self.text(name)? {
                return self.expand(name, &value).map(Some);
            }
        }
        Ok(None)
    }

    /// The same as Python's `expandvars(expanduser(value))`.
    fn expand(&self, name: &'static str, value: &str) -> Result<PathBuf, HubError> {
        let Some(rest) = value.strip_prefix('~') else { return Ok(self.expand_vars(name, value).into()) };
        if !rest.is_empty() && !rest.starts_with('/') {
            return Err(HubError::Variable {
                name,
                reason: format!("names another user's home folder ({value}); give the whole path"),
            });
        }
        let home = self.home.as_ref().ok_or(HubError::Home)?;
        let rest = self.expand_vars(name, rest.trim_start_matches('/'));
        Ok(if rest.is_empty() { home.clone() } else { home.join(rest) })
    }

    /// Replaces `$NAME` and `${NAME}` with their values; names that are not set stay unchanged.
    fn expand_vars(&self, name: &str, value: &str) -> String {
        let (mut expanded, mut rest) = (String::new(), value);
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (variable, behind) = braced.unwrap_or_else(|| {
                after.split_at(
                    after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len()),
                )
            });
            let found = (self.var)(variable).and_then(|found| found.into_string().ok());
            match found {
                Some(found) if !variable.is_empty() => expanded.push_str(&found),
                _ => {
                    tracing::warn!("{name}={value}: `${variable}` is not set, and stays as it is");
                    expanded.push_str(&rest[before.len()..rest.len() - behind.len()]);
                }
            }
            rest = behind;
        }
        expanded + rest
    }
}

/// The token in a file, which need not exist.
fn read_token(file: &Path) -> Option<String> {
    match std::fs::read_to_string(file) {
        Ok(token) => Some(token),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => {
            tracing::warn!("{}: the access token in it cannot be read: {e}", file.display());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Vars<'a> = &'a [(&'a str, &'a str)];

    fn try_hub(vars: Vars) -> Result<Hub, HubError> {
        let var = |name: &str| Some(vars.iter().find(|(key, _)| *key == name)?.1.into());
        Environment { var: &var, home: Some("/home/me".into()) }.hub()
    }

    fn hub(vars: Vars) -> Hub {
        try_hub(vars).unwrap()
    }

    #[test]
    fn defaults() {
        let hub = hub(&[("HF_ENDPOINT", " "), ("HF_HUB_OFFLINE", "0")]);
        assert_eq!(hub.endpoint, "https://huggingface.co");
        assert_eq!(hub.cache.path(), &PathBuf::from("/home/me/.cache/huggingface/hub"));
        assert!(hub.token.is_none() && !hub.offline);
        assert!(matches!(Environment { var: &|_| None, home: None }.hub(), Err(HubError::Home)));
    }

    #[test]
    fn where_the_cache_is() {
        let cases: [(Vars, &str); 13] = [
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")], "/h/hub"),
            (&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")], "/c"),
            (&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/l")], "/l"),
            (&[("HUGGINGFACE_HUB_CACHE", "/l"), ("HF_HUB_CACHE", "/c")], "/c"),
            (&[("HUGGINGFACE_HUB_CACHE", "~/l"), ("HF_HUB_CACHE", "")], "/home/me/l"),
            (&[("HF_HOME", "~/hf")], "/home/me/hf/hub"),
            (&[("HF_HUB_CACHE", "~")], "/home/me"),
            (&[("XDG_CACHE_HOME", "~/$X"), ("X", "c")], "/home/me/c/huggingface/hub"),
            (&[("HF_HOME", "$DATA/${USER}_hf"), ("DATA", "/d"), ("USER", "me")], "/d/me_hf/hub"),
            (&[("HF_HUB_CACHE", "/a/$NO/${NO}b/$/${x")], "/a/$NO/${NO}b/$/${x"),
            (&[("HF_HUB_CACHE", "/a~/~/$A"), ("A", "$A")], "/a~/~/$A"),
            (&[("HF_HUB_CACHE", "/ä$Xé/$ü"), ("X", "ö")], "/äöé/$ü"),
        ];
        for (vars, cache) in cases {
            assert_eq!(hub(vars).cache.path(), &PathBuf::from(cache), "{vars:?}");
        }
    }

    #[test]
    fn paths_that_say_nothing() {
        let error = try_hub(&[("HF_HOME", "~other/hf")]).unwrap_err();
        assert!(matches!(error, HubError::Variable { name: "HF_HOME", .. }), "{error}");
        #[cfg(unix)]
        {
            let var = |name: &str| {
                let bytes = std::os::unix::ffi::OsStringExt::from_vec(b"/\xff".to_vec());
                (name == "HF_HUB_CACHE").then_some(bytes)
            };
            let error = Environment { var: &var, home: None }.hub().unwrap_err();
            assert!(matches!(error, HubError::Variable { name: "HF_HUB_CACHE", .. }), "{error}");
        }
    }

    #[test]
    fn the_endpoint() {
        assert_eq!(hub(&[("HF_ENDPOINT", "http://mirror/")]).endpoint, "http://mirror");
    }

    #[test]
    fn offline() {
        let cases: [(Vars, bool); 11] = [
            (&[("HF_HUB_OFFLINE", "1")], true),
            (&[("HF_HUB_OFFLINE", "True")], true),
            (&[("HF_HUB_OFFLINE", "yes")], true),
            (&[("HF_HUB_OFFLINE", "ON")], true),
            (&[("HF_HUB_OFFLINE", "no")], false),
            (&[("HF_HUB_OFFLINE", "2")], false),
            (&[("TRANSFORMERS_OFFLINE", "1")], true),
            (&[("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_OFFLINE", "")], true),
            (&[("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_OFFLINE", "0")], false),
            (&[("HF_DATASETS_OFFLINE", "1")], true),
            (&[("HF_DATASETS_OFFLINE", "0"), ("HF_HUB_OFFLINE", "1")], true),
        ];
        for (vars, offline) in cases {
            assert_eq!(hub(vars).offline, offline, "{vars:?}");
        }
    }

    #[test]
    fn which_token() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        std::fs::write(folder.path().join("other"), "hf_other\n").unwrap();
        let home = ("HF_HOME", folder.path().to_str().unwrap());
        let cases: [(Vars, Option<&str>); 9] = [
            (&[home], Some("hf_file")),
            (&[home, ("HF_TOKEN", "hf_var")], Some("hf_var")),
            (&[home, ("HUGGING_FACE_HUB_TOKEN", "hf_old")], Some("hf_old")),
            (&[("HF_TOKEN", "hf_var"), ("HUGGING_FACE_HUB_TOKEN", "hf_old")], Some("hf_var")),
            (&[("HF_TOKEN", " "), ("HUGGING_FACE_HUB_TOKEN", "hf_old\r\n")], Some("hf_old")),
            (&[home, ("HF_TOKEN_PATH", "$HF_HOME/other")], Some("hf_other")),
            (&[home, ("HF_TOKEN_PATH", "$HF_HOME/nothing")], None),
            (&[home, ("HF_TOKEN_PATH", "$HF_HOME")], None),
            (&[home, ("HF_TOKEN", "hf_var"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], None),
        ];
        for (vars, token) in cases {
            assert_eq!(hub(vars).token.map(|token| token.0).as_deref(), token, "{vars:?}");
        }
    }
}
