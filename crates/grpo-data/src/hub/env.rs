//! A [`Hub`] from the environment, by the rules of Hugging Face's own tools.

use std::path::PathBuf;

use super::{Hub, HubError};

impl Hub {
    /// The Hub that the environment describes:
    ///
    /// - `HF_ENDPOINT`: its URL, else `https://huggingface.co`;
    /// - `HF_HUB_CACHE`: the cache, else `hub` in `HF_HOME`, else `~/.cache/huggingface/hub`;
    /// - `HF_TOKEN`: the access token, else the file `token` in `HF_HOME` that `hf auth login` writes;
    /// - `HF_HUB_OFFLINE`: `1`, `true`, `yes` or `on` to use only the cache.
    ///
    /// # Errors
    ///
    /// [`HubError::Home`] if nothing says where the cache is to be.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_vars(|name| std::env::var(name).ok(), std::env::home_dir())
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>, home: Option<PathBuf>) -> Result<Self, HubError> {
        let var = |name| var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let cache_home = || var("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(home?.join(".cache")));
        let hf_home = var("HF_HOME").map(PathBuf::from).or_else(|| Some(cache_home()?.join("huggingface")));
        let cache = var("HF_HUB_CACHE").map(PathBuf::from).or_else(|| Some(hf_home.as_ref()?.join("hub")));
        let mut hub = Self::new(cache.ok_or(HubError::Home)?);
        if let Some(endpoint) = var("HF_ENDPOINT") {
            hub = hub.with_endpoint(endpoint);
        }
        let file = || std::fs::read_to_string(hf_home?.join("token")).ok();
        if let Some(token) = var("HF_TOKEN").or_else(file) {
            hub = hub.with_token(token);
        }
        let yes = |value: String| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str());
        Ok(hub.with_offline(var("HF_HUB_OFFLINE").is_some_and(yes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(vars: &[(&str, &str)]) -> Hub {
        let var = |name: &str| Some(vars.iter().find(|(key, _)| *key == name)?.1.to_owned());
        Hub::from_vars(var, Some("/home/me".into())).unwrap()
    }

    #[test]
    fn defaults() {
        let hub = hub(&[("HF_ENDPOINT", " "), ("HF_HUB_OFFLINE", "0")]);
        assert_eq!(hub.endpoint, "https://huggingface.co");
        assert_eq!(hub.cache.path(), &PathBuf::from("/home/me/.cache/huggingface/hub"));
        assert!(hub.token.is_none() && !hub.offline);
    }

    #[test]
    fn where_the_cache_is() {
        let cache = |vars| hub(vars).cache.path().clone();
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x")]), PathBuf::from("/x/huggingface/hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")]), PathBuf::from("/h/hub"));
        assert_eq!(cache(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]), PathBuf::from("/c"));
        assert!(matches!(Hub::from_vars(|_| None, None), Err(HubError::Home)));
    }

    #[test]
    fn endpoint_and_offline() {
        let hub = hub(&[("HF_ENDPOINT", "http://mirror/"), ("HF_HUB_OFFLINE", "TRUE")]);
        assert_eq!(hub.endpoint, "http://mirror");
        assert!(hub.offline);
    }

    #[test]
    fn the_variable_precedes_the_token_file() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        let home = home.path().to_str().unwrap();
        let token = |vars: &[(&str, &str)]| hub(vars).token.unwrap().0;
        assert_eq!(token(&[("HF_HOME", home)]), "hf_file");
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN", "hf_var")]), "hf_var");
    }
}
