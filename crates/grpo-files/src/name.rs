//! File names that come from others.

use std::path::{Component, Path};

/// Whether a file with this name lies inside the folder that it is joined to, on any system.
pub fn is_inside(name: &str) -> bool {
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    inside && !name.is_empty() && !name.contains(['\\', ':', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_their_folder() {
        for name in ["a", "main/a.parquet", "model-00001-of-00002.safetensors"] {
            assert!(is_inside(name), "{name}");
        }
        for name in ["", "../a", "a/../../b", "/a", "C:\\a", "..\\a", "C:a", "./a"] {
            assert!(!is_inside(name), "{name}");
        }
    }
}
