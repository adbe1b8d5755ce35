//! An option outside its range, and ranges that several options share.

/// An option is outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("option `{option}` is {value}: {expected}")]
pub struct InvalidOption {
    /// The option's name.
    pub option: &'static str,
    /// The value it was given.
    pub value: String,
    /// The range that it must be in.
    pub expected: &'static str,
}

impl InvalidOption {
    /// Creates the error for an option.
    pub fn new(option: &'static str, value: impl ToString, expected: &'static str) -> Self {
        Self { option, value: value.to_string(), expected }
    }

    /// Checks that a value is 0 or a positive number.
    pub fn check_not_negative(option: &'static str, value: f64) -> Result<(), Self> {
        let valid = value >= 0.0 && value.is_finite();
        if valid { Ok(()) } else { Err(Self::new(option, value, "it must be 0 or a positive number")) }
    }

    /// Checks that a value is a positive number.
    pub fn check_positive(option: &'static str, value: f64) -> Result<(), Self> {
        let valid = value > 0.0 && value.is_finite();
        if valid { Ok(()) } else { Err(Self::new(option, value, "it must be a positive number")) }
    }

    /// Checks that a value is a share.
    pub fn check_share(option: &'static str, value: f64) -> Result<(), Self> {
        let valid = (0.0..=1.0).contains(&value);
        if valid { Ok(()) } else { Err(Self::new(option, value, "it must be at least 0 and at most 1")) }
    }
}
